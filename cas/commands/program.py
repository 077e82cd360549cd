"""From the command line to an exit status."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cas.commands import Asked, Done, Output, World, named_config
from cas.commands.console import Console
from cas.commands.printing import print_output, unwritable
from cas.errors import CasError, Interrupted, NotPermitted, shortage
from cas.files import standard_streams
from cas.files.permission import denial
from cas.files.whole import FULL, cannot_write
from cas.settings import users
from cas.settings.config import SYSTEM_FILE, Config, override, read_config
from cas.text import printable

INTERRUPTED = 130
UNREAD = 141
"""What a shell reports of a program that SIGPIPE ended."""


def execute(parse: Callable[[Sequence[str]], Asked], argv: Sequence[str], going_on: str) -> int:
    """Parse the arguments and run what they ask for; the exit status.

    :param going_on: how to go on after an interruption
    """
    console = Console(sys.stderr, os.environ)
    try:
        return _command_status(parse, argv, console)
    except KeyboardInterrupt as error:
        kept = str(error) if isinstance(error, Interrupted) else going_on
        console.fail(CasError(f"interrupted, exit status {INTERRUPTED}", hint=kept))
        return INTERRUPTED


def _command_status(
    parse: Callable[[Sequence[str]], Asked], argv: Sequence[str], console: Console
) -> int:
    is_debugged = "--debug" in argv
    console.config = named_config(argv)
    try:
        try:
            asked = parse(argv)
        except SystemExit as end:  # of argparse, which has printed the help
            return print_output(_last_words(int(end.code or 0)), console, os.environ)
        is_debugged = asked.debug
        console.is_quiet = asked.quiet
        return print_output(_carried_out(asked, console), console, os.environ)
    except CasError as error:
        if is_debugged:
            _print_traceback()
        console.fail(error)
        named = (error.result,) if error.result else ()
        return print_output(_last_words(error.exit_code, named), console, os.environ)
    except BrokenPipeError:  # the reader has left
        standard_streams.silence(standard_streams.STDOUT)
        return UNREAD
    except Exception as error:
        if is_debugged:
            _print_traceback()
        # a sentence, not a traceback: a disk that fails where nobody thought of it, or a defect
        if isinstance(error, OSError):
            failure = _not_written(error)
            if failure is not None:
                console.fail(failure)
                return failure.exit_code
        if short := shortage(error):
            console.fail(short)
            return short.exit_code
        console.warn(f"internal error: {type(error).__name__}: {error}; add --debug for details")
        return 4


def _last_words(status: int, lines: Sequence[str] = ()) -> Output:
    """What is left to say where nothing was carried out, or not to its end."""
    yield from map(Done, lines)
    return status


def _carried_out(asked: Asked, console: Console) -> Output:
    """What the command prints; an error of permissions says how root mends it here."""
    config, held = _begin_as_user(asked, console)
    now = datetime.now(UTC)
    world = World(config, console, now, sys.stdin.isatty(), _ask_person, os.environ, held)
    try:
        return (yield from asked.command(world))
    except NotPermitted as error:
        error.hint = _remedy(error, config)
        raise
    except OSError as error:  # where nobody thought of it
        if (denied := denial(error)) is None:
            raise
        denied.hint = _remedy(denied, config)
        raise denied from error


def _remedy(error: NotPermitted, config: Config) -> str:
    return users.through_sudo(error, config, sys.argv) or users.hint(error, config)


def _begin_as_user(asked: Asked, console: Console) -> tuple[Config, Mapping[Path, int]]:
    """The configuration, and what root has opened before he gave way to ``casuser``."""
    try:
        datetime.now().astimezone()
    except (ValueError, OverflowError):  # TZ names no offset that a day has
        console.warn(f"TZ={os.environ.get('TZ', '')} is no time zone: times are in UTC")
        os.environ["TZ"] = "UTC"  # for everybody we start, too
        time.tzset()
    held = dict[Path, int]()
    try:
        config = _configuration(asked)
    except (CasError, OSError) as error:
        if asked.needs_config:
            raise
        console.warn(str(error))
        config = defaults(os.environ)
    user = None if asked.stays_root else users.successor(config.casuser)
    if user is not None:
        held = users.opened_uploads(asked.uploads)
        if held.keys() < {*asked.uploads}:  # root sees that one is not there, or is none
            from cas.intake import check_upload

            for path in asked.uploads:
                check_upload(path)
        for path in asked.reads:
            try:
                path.stat()
            except OSError as error:  # root sees that it is not there
                said = f"cannot read {path}: {error.strerror}"
                raise CasError(said, hint="check the path") from error
        held |= users.opened_uploads(asked.reads)
        users.take_environment(user, os.environ)
        config = _configuration(asked)  # its `~` is another one now
        users.become(user, os.environ)
        held = users.keep_needed(held)
    for warning in config.warnings:
        console.warn(warning)
    return config, held


def _configuration(asked: Asked) -> Config:
    config = read_config(config_file(asked.config, os.environ), defaults(os.environ))
    return override(config, os.environ, asked.intervals)


def _not_written(error: OSError) -> CasError | None:
    """What could not be written, and why; ``None``: it is about something else."""
    is_stdout = error.filename is None  # what a debugger says goes straight there
    if error.errno == errno.EBADF and is_stdout:
        return None if standard_streams.is_writable(standard_streams.STDOUT) else unwritable(error)
    if error.errno not in FULL | {errno.EIO, errno.EROFS}:
        return None
    return unwritable(error) if is_stdout else cannot_write(Path(str(error.filename)), error, 0)


def _print_traceback() -> None:
    sys.stderr.write(printable(traceback.format_exc()))


def _ask_person(question: str) -> str:
    """What a person answers; nothing for the end of input, or for what is no text."""
    sys.stderr.write(question)
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except UnicodeDecodeError:
        answer = ""
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer


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
