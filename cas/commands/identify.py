"""``cas identify FILE``: what a dump says about itself, without a vmlinux."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cas.commands.answers import VERSION
from cas.commands.invocation import Answer, World
from cas.commands.mistakes import command
from cas.commands.wrong_file import check
from cas.dump import SEARCH_BYTES, kind_of, reassemble
from cas.dump import identify as identify_dump
from cas.dump.reassemble import with_reason
from cas.errors import CasError, DiskFull, NotADump
from cas.files.whole import is_there
from cas.intake import Intake, Storing, is_plain, take_over
from cas.jobs.layout import DUMP
from cas.jobs.work_directory import WorkDirectory, is_ticket
from cas.model import Dump
from cas.report.result import registers
from cas.supervise import scratch
from cas.text import json_text, located, short_line, wholeness
from cas.units import human_size, plain, told_time

HIDDEN = frozenset(
    {"version", "dmesg", "vmcoreinfo", "registers", "checked", "pages", "pages_checked"}
)
"""Facts that only JSON has room for, or that are told beside what is missing."""
LARGE = Path("/var/tmp")  # noqa: S108  a directory of our own below it
"""Where large files are put that nobody keeps (hier(7)); /tmp is memory on many machines."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What shall be identified."""

    path: Path
    member: str | None = None
    """The dump to take from an archive that holds several."""


def identify(subject: Subject, world: World, *, as_json: bool) -> Answer:
    """Print the facts; a damaged dump gives status 3.

    A packed one is unpacked into a directory of its own for that long, within the limits of
    cas.conf.

    :raises NotADump: it is not a kernel dump
    :raises DiskFull: it cannot be unpacked
    """
    is_held = subject.path in world.held
    if not is_held:
        with _job_meant(subject.path, world):
            check(subject.path, ("identify",))
    limit_bytes = world.config.buffer_size_bytes or SEARCH_BYTES
    if not is_held and is_plain(subject.path, kind_of):
        dump = identify_dump(subject.path, limit_bytes)
    else:
        dump = _packed(subject, world, limit_bytes)
    facts = _facts(dump)
    text = json_text(facts, indent=1) if as_json else _table(dump, facts)
    return Answer((text,), 0 if dump.is_whole else 3)


@contextmanager
def _job_meant(path: Path, world: World) -> Iterator[None]:
    """Name the dump of a ticket's last job to somebody who names the ticket."""
    try:
        yield
    except NotADump as error:
        with suppress(CasError):
            named = str(path)
            directories = (
                list(WorkDirectory.of(world.config).jobs(named)) if is_ticket(named) else []
            )
            if directories and not is_there(path):
                dump = shlex.quote(str(directories[-1] / DUMP)) + "/*"
                error.hint = f"the dump of that ticket's last job: cas identify {dump}"
        raise


def _packed(subject: Subject, world: World, limit_bytes: int) -> Dump:
    """The dump in an upload, as if it were there unpacked, and what its wrapping lost."""
    path, place = subject.path, None if "TMPDIR" in world.environment else LARGE
    try:
        with scratch(place) as directory:
            intake = Intake(world.config.intake, kind_of, subject.member)
            upload = path
            if path in world.held:  # only root could open it
                upload = directory / "upload" / path.name
                upload.parent.mkdir()
                with world.progress.bar(f"Taking over {path.name}", None):
                    take_over(world.held[path], upload, world.config.intake)
            with Storing([upload], directory, intake, world.progress) as storing:
                stored = storing.stored()
                vmcore, missing = stored.vmcore, stored.missing
                if stored.parts:
                    vmcore = directory / "joined"
                    missing = (*missing, *reassemble(stored.parts, vmcore))
                with _called(vmcore, path):
                    dump = with_reason(identify_dump(vmcore, limit_bytes), missing)
    except DiskFull as error:
        again = f"TMPDIR=DIRECTORY {command('cas', ['identify', str(path)])}"
        error.hint = f"to unpack it where there is room: {again}"
        raise
    missing = (*missing, *dump.missing)
    return replace(dump, path=path, missing=missing, remarks=(*stored.remarks, *dump.remarks))


@contextmanager
def _called(vmcore: Path, path: Path) -> Iterator[None]:
    """Name what was given in the place of what was unpacked, which goes."""
    try:
        yield
    except NotADump as error:
        said = str(error).replace(str(vmcore), str(path))
        raise type(error)(said, hint=error.hint, offset=error.offset) from error


def _facts(dump: Dump) -> dict[str, Any]:
    facts = {"version": VERSION, **asdict(replace(dump, vmcoreinfo={}, registers=()))}
    facts["path"] = str(dump.path)
    facts["crash_time"] = dump.crash_time and plain(dump.crash_time)
    facts["kaslr_offset"] = None if dump.kaslr_offset is None else hex(dump.kaslr_offset)
    facts["vmcoreinfo"] = dict(dump.vmcoreinfo)
    facts["registers"] = registers(dump)
    return facts


def _table(dump: Dump, facts: dict[str, Any]) -> str:
    shown = {key: value for key, value in facts.items() if key not in HIDDEN}
    lacks = (located(lack.what, lack.offset) for lack in dump.missing)
    shown["missing"] = "; ".join(lacks) or f"nothing: {wholeness(dump)}"
    shown["size_bytes"] = f"{dump.size_bytes:,} ({human_size(dump.size_bytes)})"
    shown["crash_time"] = told_time(dump.crash_time) if dump.crash_time else None
    shown["remarks"] = "; ".join(facts["remarks"])
    told = {key: short_line(str(text)) for key, text in shown.items() if text not in (None, "")}
    return "\n".join(f"{key:14} {text}" for key, text in told.items())
