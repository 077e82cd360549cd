"""The process: its standard streams, its signals and its exit.

Everything else is imported by `main`, when signals are already handled.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from cas.files import standard_streams

if TYPE_CHECKING:
    from cas.commands import Asked

INTERRUPTED = 130
MANY_OBJECTS = 50_000
"""New ones, after which it is looked for garbage: what is imported stays, and is much."""
AGAIN_S = 0.02
"""From an interruption that was lost to the next."""


def run() -> None:
    """The ``cas`` program."""
    main(_parse_cas, "nothing was kept; run the same command again")


def main(parse: Callable[[Sequence[str]], Asked], going_on: str) -> None:
    """Parse the arguments, run what they ask for, and exit with its status.

    :param going_on: how to go on after an interruption
    """
    status = INTERRUPTED
    gc.set_threshold(MANY_OBJECTS)
    try:
        os.umask(0o077)
        standard_streams.prepare()
        signal.signal(signal.SIGTERM, _terminate)
        signal.signal(signal.SIGALRM, _terminate)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup sets
            signal.signal(signal.SIGHUP, _terminate)
        for number in (signal.SIGINT, signal.SIGQUIT):
            # a background job of a script ignores them; what we start must not, or no command that
            # hangs could be interrupted
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, _ignore)
        sys.unraisablehook = _unraisable
        threading.excepthook = _tell_of_dead_thread
        from cas.commands.program import execute

        status = execute(parse, sys.argv[1:], going_on)
    except KeyboardInterrupt:  # a second one, while the first was told, or one while we import
        pass
    finally:
        # the status stands: what comes now ends the process, whatever it waits for, without words
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) not in (signal.SIG_IGN, _ignore):
                signal.signal(number, signal.SIG_DFL)
    sys.exit(status)


def _parse_cas(argv: Sequence[str]) -> Asked:
    from cas.commands import parse

    return parse(argv)


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt once more where the first time a destructor or a callback swallowed it."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


def _tell_of_dead_thread(died: threading.ExceptHookArgs) -> None:
    """Say in a line that a thread has ended; who waits for its result tells the rest."""
    name = died.thread and died.thread.name
    sys.stderr.write(f"! thread {name}: {died.exc_value!a}\n")


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run()
