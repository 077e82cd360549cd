"""From the command line to an exit status: the only place that prints."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cas.commands import Answer, Asked, World, named_config, pager
from cas.commands.console import Console
from cas.errors import AGAIN, CasError, DiskFull, Interrupted, NotPermitted, TryAgain, shortage
from cas.files import standard_streams
from cas.files.permission import DENIED, not_permitted
from cas.files.whole import FULL, cannot_write
from cas.settings import users
from cas.settings.config import SYSTEM_FILE, Config, override, read
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
        return _status(parse, argv, console)
    except KeyboardInterrupt as error:
        kept = str(error) if isinstance(error, Interrupted) else going_on
        console.fail(CasError(f"interrupted, exit status {INTERRUPTED}", hint=kept))
        return INTERRUPTED


def _status(parse: Callable[[Sequence[str]], Asked], argv: Sequence[str], console: Console) -> int:
    is_debugged = "--debug" in argv
    console.config = named_config(argv)
    try:
        asked = parse(argv)
        is_debugged = asked.debug
        console.is_quiet = asked.quiet
        return _show(_carried_out(asked, console), console)
    except SystemExit as end:  # of argparse: help was asked for, or nothing that it understands
        return _show(Answer(exit_code=int(end.code or 0)), console)
    except CasError as error:
        if is_debugged:
            _trace()
        console.fail(error)
        named = (error.result,) if error.result else ()
        return _show(Answer(named, error.exit_code, stands=True), console)
    except BrokenPipeError:  # the reader of what a debugger says has left
        standard_streams.silence(standard_streams.STDOUT)
        return UNREAD
    except Exception as error:
        if is_debugged:
            _trace()
        return _unforeseen(error, console)


def _carried_out(asked: Asked, console: Console) -> Answer:
    """What comes of the command; an error of permissions says how root mends it here."""
    config, held = _begun(asked, console)
    now = datetime.now(UTC)
    world = World(config, console, now, sys.stdin.isatty(), _ask, os.environ, held)
    try:
        return asked.command(world)
    except NotPermitted as error:
        error.hint = users.hint(error, config)
        raise
    except OSError as error:  # where nobody thought of it
        if error.errno not in DENIED or not isinstance(error.filename, str):
            raise
        denied = not_permitted(Path(error.filename), error, "used")
        denied.hint = users.hint(denied, config)
        raise denied from error


def _begun(asked: Asked, console: Console) -> tuple[Config, Mapping[Path, int]]:
    """The configuration, and what root has opened before he gave way to ``casuser``."""
    _mend_time_zone(console)
    config, held = _first_configuration(asked, console), dict[Path, int]()
    user = None if asked.stays_root else users.successor(config.casuser)
    if user is not None:
        held = _opened(asked.uploads)
        users.take_environment(user, os.environ)
        config = _configuration(asked)  # its `~` is another one now
        users.become(user, os.environ)
        held = users.kept(held)
    for warning in config.warnings:
        console.warn(warning)
    return config, held


def _opened(uploads: Sequence[Path]) -> dict[Path, int]:
    """Descriptors of the uploads.

    :raises NotADump: root sees that one of them is not there, or is none
    """
    held = users.opened(uploads)
    if held.keys() < {*uploads}:
        from cas.intake import check

        for path in uploads:
            check(path)
    return held


def _first_configuration(asked: Asked, console: Console) -> Config:
    try:
        return _configuration(asked)
    except (CasError, OSError) as error:
        if asked.needs_config:
            raise
        console.warn(str(error))
        return defaults(os.environ)


def _configuration(asked: Asked) -> Config:
    config = read(config_file(asked.config, os.environ), defaults(os.environ))
    return override(config, os.environ, asked.intervals)


def _show(answer: Answer, console: Console) -> int:
    """Print the lines; the status, also where they cannot be printed."""
    try:
        lines = [printable(line) for line in _repeatable(answer, console)]
        if answer.stands or not pager.paged(lines, sys.stdout, os.environ):
            for line in lines:
                print(line)
        sys.stdout.flush()
    except OSError as error:
        standard_streams.silence(standard_streams.STDOUT)
        return _unshown(answer, error, console)
    if answer.next_step:
        console.say(answer.next_step)
    return answer.exit_code


def _repeatable(answer: Answer, console: Console) -> tuple[str, ...]:
    """The lines; those of JSON say no more than they were told."""
    if answer.lines[:1] and answer.lines[0].startswith("{"):
        return answer.lines
    return tuple(map(console.repeatable, answer.lines))


def _unshown(answer: Answer, error: OSError, console: Console) -> int:
    if isinstance(error, BrokenPipeError):
        return answer.exit_code if answer.stands else UNREAD
    failure = _unwritable(error)
    if not answer.stands:
        console.fail(failure)
        return failure.exit_code
    console.is_quiet = False  # what it says is the result now
    console.warn(str(failure))
    for line in answer.lines:
        console.say(line)
    return answer.exit_code


def _unwritable(error: OSError) -> CasError:
    kind = DiskFull if error.errno in FULL else TryAgain
    return kind(
        f"standard output cannot be written: {error.strerror}",
        hint=f"give it another place, then {AGAIN}",
    )


def _unforeseen(error: Exception, console: Console) -> int:
    """A sentence, not a traceback: a disk that fails where nobody thought of it, or a defect."""
    if isinstance(error, OSError) and error.errno in FULL | {errno.EIO, errno.EROFS}:
        if error.filename is None:  # what a debugger says goes straight to stdout
            failure = _unwritable(error)
        else:
            failure = cannot_write(Path(str(error.filename)), error, 0)
        console.fail(failure)
        return failure.exit_code
    if short := shortage(error):
        console.fail(short)
        return short.exit_code
    console.warn(f"internal error: {type(error).__name__}: {error}; add --debug for details")
    return 4


def _trace() -> None:
    sys.stderr.write(printable(traceback.format_exc()))


def _ask(question: str) -> str:
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


def _mend_time_zone(console: Console) -> None:
    """Use UTC where the variable TZ names no offset that a day has; everybody we start does so."""
    try:
        datetime.now().astimezone()
    except (ValueError, OverflowError):
        console.warn(f"TZ={os.environ.get('TZ', '')} is no time zone: times are in UTC")
        os.environ["TZ"] = "UTC"
        time.tzset()


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
