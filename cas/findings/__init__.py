"""From a dump and the first answer to a verdict on the crash: pure functions, no files."""

from cas.findings.damage import Damage, assess
from cas.findings.finding import find
from cas.findings.suspects import kmods_in_list, kmods_in_traces

__all__ = ["Damage", "assess", "find", "kmods_in_list", "kmods_in_traces"]
