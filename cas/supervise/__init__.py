"""The one place that starts programs: limits, a sandbox, a watchdog, and an end for everything.

A debugger on a damaged dump hangs, spins, dies or eats memory. Each program therefore runs in a
session of its own, in a sandbox where there is one, and ends together with whatever it started.
"""

from cas.supervise.child import Child, Finished, run_program
from cas.supervise.confinement import Confinement, VisibleFiles
from cas.supervise.dialogue import Dialogue
from cas.supervise.programs import SAFE_PATH, describe_status, find_program, is_from_outside
from cas.supervise.sandbox import FILES, Sandbox, find_sandbox, likely_sandbox
from cas.supervise.scratch import locked_room, remove_left, scratch
from cas.supervise.starts import StartLimit
from cas.supervise.trace import ProgramFailure, write_trace
from cas.supervise.watchdog import Watchdog

__all__ = [
    "FILES",
    "SAFE_PATH",
    "Child",
    "Confinement",
    "Dialogue",
    "Finished",
    "ProgramFailure",
    "Sandbox",
    "StartLimit",
    "VisibleFiles",
    "Watchdog",
    "describe_status",
    "find_program",
    "find_sandbox",
    "is_from_outside",
    "likely_sandbox",
    "locked_room",
    "remove_left",
    "run_program",
    "scratch",
    "write_trace",
]
