"""Programs on this machine: where they are, what they see of our environment, how they ended."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

SAFE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


OWN_FAULTS = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
        signal.SIGXCPU,
        signal.SIGXFSZ,
    }
)
"""Signals that a program brings upon itself; any other was sent by somebody."""


def is_from_outside(number: int) -> bool:
    """Whether a program was ended, or stopped, by somebody else.

    :param number: of the signal that did it; 0: none did
    """
    return number != 0 and number not in OWN_FAULTS


def describe_status(status: int) -> str:
    """An exit status in words: ``exit status 1`` or ``killed by SIGSEGV``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def describe_stop(number: int) -> str:
    """What stopped a program: ``stopped by SIGSTOP``.

    :param number: of the signal; 0: it is not known
    """
    try:
        return f"stopped by {signal.Signals(number).name}"
    except ValueError:
        return "stopped by a signal"


def find_program(name: str, path: str | None = None) -> Path | None:
    """The executable that a name or path means; ``None`` when there is none.

    :param path: directories to search, as in the PATH variable; default: the process's
    """
    found = shutil.which(name, path=path)
    return Path(found).absolute() if found else None
