"""From the command line to an exit code: the only place that prints and exits."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from cas.commands import Asked, World, parse
from cas.config import SYSTEM_FILE, Config, override, read
from cas.console import Console
from cas.errors import CasError
from cas.files import FULL, cannot_write
from cas.text import printable


def run() -> None:
    """The ``cas`` program."""
    main(parse)


def main(parser: Callable[[Sequence[str]], Asked]) -> None:
    """Parse the arguments, run what they ask for, and exit with its status."""
    os.umask(0o077)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal need not know every letter
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup sets
        signal.signal(signal.SIGHUP, _terminate)
    for number in (signal.SIGINT, signal.SIGQUIT):
        # a background job of a script ignores them; what we start must not, or no command that
        # hangs could be interrupted
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)
    asked = parser(sys.argv[1:])
    sys.exit(_status(asked, Console(sys.stderr, os.environ)))


def _status(asked: Asked, console: Console) -> int:
    try:
        answer = asked.command(_world(asked, console))
        for line in answer.lines:
            print(printable(line))
        sys.stdout.flush()
        return answer.exit_code
    except CasError as error:
        if asked.debug:
            _trace()
        console.fail(error)
        return error.exit_code
    except KeyboardInterrupt:
        console.warn("interrupted; what is finished is kept: `cas -i ID` goes on from there")
        return 130
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if asked.debug:
            _trace()
        return _unforeseen(error, console)


def _unforeseen(error: Exception, console: Console) -> int:
    """A sentence, not a traceback: a disk that fails where nobody thought of it, or a defect."""
    if isinstance(error, OSError) and error.errno in FULL | {errno.EIO, errno.EROFS}:
        failure = cannot_write(Path(str(error.filename or "the output")), error, 0)
        console.fail(failure)
        return failure.exit_code
    console.warn(f"internal error: {type(error).__name__}: {error}; add --debug for details")
    return 4


def _trace() -> None:
    sys.stderr.write(printable(traceback.format_exc()))


def _world(asked: Asked, console: Console) -> World:
    config = read(config_file(asked.config, os.environ), defaults(os.environ))
    config = override(config, os.environ, asked.intervals)
    for warning in config.warnings:
        console.warn(warning)
    return World(config, console, datetime.now(UTC), sys.stdin.isatty(), input, os.environ)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def config_file(asked: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The configuration file: ``--config``, CAS_CONF, the system's if there is one."""
    chosen = asked or (Path(environment["CAS_CONF"]) if environment.get("CAS_CONF") else None)
    if chosen:
        return chosen
    return SYSTEM_FILE if SYSTEM_FILE.exists() else None


def defaults(environment: Mapping[str, str]) -> Config:
    """What holds without a configuration file: everything below the user's XDG directories."""
    home = Path(environment.get("HOME") or Path.home())
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local/share") / "cas"
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "cas"
    return Config(
        kernels=data / "kernels",
        debugs=cache / "debugs",
        work_directory=data / "cores",
        database=str(data / "cas.db"),
    )


if __name__ == "__main__":
    run()
