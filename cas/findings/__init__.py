"""From a dump and the first answer to a verdict on the crash: pure functions, no files."""

from cas.findings.crash import crash_of
from cas.findings.damage import Damage, assess
from cas.findings.fault import FaultCase, as_detections, fault_case, with_advice, with_source
from cas.findings.finding import advised, find
from cas.findings.functions import BadPatterns, Functions, functions_with
from cas.findings.kdump_failure import failure_paragraph, kdump_failure
from cas.findings.shortage import detections_of_log
from cas.findings.shortfall import Shortfall, given_up, shortfall

__all__ = [
    "BadPatterns",
    "Damage",
    "FaultCase",
    "Functions",
    "Shortfall",
    "advised",
    "as_detections",
    "assess",
    "crash_of",
    "detections_of_log",
    "failure_paragraph",
    "fault_case",
    "find",
    "functions_with",
    "given_up",
    "kdump_failure",
    "shortfall",
    "with_advice",
    "with_source",
]
