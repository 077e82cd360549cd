"""From a dump and the first answer to a verdict on the crash: pure functions, no files."""

from cas.findings.finding import find
from cas.findings.suspects import kmods_in_traces

__all__ = ["find", "kmods_in_traces"]
