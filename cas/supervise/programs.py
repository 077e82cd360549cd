"""Programs on this machine: where they are, what they see of our environment, how they ended."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

SAFE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


def describe(status: int) -> str:
    """An exit status in words: ``exit status 1`` or ``killed by SIGSEGV``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def stopped(number: int) -> str:
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
