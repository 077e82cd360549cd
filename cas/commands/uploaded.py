"""The dump that ``identify`` or ``object`` is given, as it lies there or out of its wrappings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from cas.commands.invocation import World
from cas.commands.mistakes import shell_command
from cas.commands.wrong_file import require_dump_file
from cas.dump import SEARCH_BYTES, identify, kind_of, reassemble
from cas.dump.crash_id import CrashId, id_of_dump
from cas.dump.identify import crash_id, crash_id_by_headers
from cas.dump.reassemble import with_reason
from cas.dump.source import opened_source
from cas.errors import CasError, DiskFull, NotADump, UnsupportedFormat
from cas.files.whole import is_there
from cas.intake import PEEK_BYTES, Intake, Storing, is_plain, take_over, wrapping
from cas.jobs.job import load_job
from cas.jobs.layout import DUMP
from cas.jobs.work_directory import WorkDirectory, is_ticket
from cas.model.dump import Dump
from cas.progress import Silent
from cas.supervise import scratch

ID_LIMIT_BYTES = 64 << 20
"""The headers of no dump take more; what says so is not read on its server to its end."""
LARGE = Path("/var/tmp")  # noqa: S108  a directory of our own below it
"""Where large files are put that nobody keeps (hier(7)); /tmp is memory on many machines."""


def packed_files(path: Path) -> tuple[Path, ...]:
    """The file, if it must be unpacked to be read."""
    with suppress(OSError):
        if path.is_file() and not is_plain(path, kind_of):
            return (path,)
    return ()


def identify_upload(path: Path, member: str | None, world: World) -> Dump:
    """What a dump says about itself.

    A packed one is unpacked into a directory of its own for that long, within the limits of
    cas.conf.

    :param member: the dump to take from an archive that holds several
    :raises NotADump: it is not a kernel dump
    :raises DiskFull: it cannot be unpacked
    """
    if path not in world.held:
        try:
            require_dump_file(path, ("identify",))
        except NotADump as error:
            # somebody names a ticket, and means the dump of its last job
            named, directories = str(path), list[Path]()
            with suppress(CasError):
                if is_ticket(named) and not is_there(path):
                    directories = list(WorkDirectory.of(world.config).jobs(named))
            if directories:
                dump = shlex.quote(str(directories[-1] / DUMP)) + "/*"
                with suppress(CasError):
                    stored = load_job(directories[-1]).stored
                    if stored and stored.reference:
                        dump = shlex.quote(str(stored.vmcore))
                error.hint = f"the dump of that ticket's last job: cas identify {dump}"
            raise
    if path not in world.held and is_plain(path, kind_of):
        return identify(path, _search_bytes(world))
    return _identify_packed("identify", path, member, world)


def crash_id_of_upload(path: Path, world: World) -> CrashId:
    """What the crash of a dump is called; of a packed one as much is unpacked as that takes.

    :raises NotADump: it is not a kernel dump
    :raises DiskFull: it cannot be unpacked
    """
    if path not in world.held:
        require_dump_file(path, ("object",))
        if is_plain(path, kind_of):
            with opened_source(path) as source:
                return crash_id(path, source)
        if found := _id_by_beginning(path, world):
            return found
    return id_of_dump(_identify_packed("object", path, None, world))


def crash_id_of_url(address: str, world: World) -> CrashId:
    """What the crash of a dump on a server is called; it is read there by ranges.

    :raises CasError: the server gives whole files only, or has no such dump for us
    """
    from cas.fetch.ranged_file import TooMuch, opened_ranged
    from cas.fetch.source import FetchPolicy
    from cas.fetch.url import parse_url

    url, policy = parse_url(address), FetchPolicy.of(world.config)
    whole = "fetch it first, then: cas object FILE"
    with scratch() as directory, opened_ranged(url, policy, directory, world.progress) as file:
        file.limit_bytes = ID_LIMIT_BYTES
        try:
            found = crash_id_by_headers(str(url), file)
        except TooMuch as error:
            error.hint = whole
            raise
        except NotADump as error:
            head = file.read(0, PEEK_BYTES)
            if not isinstance(error, UnsupportedFormat) and (kind_of(head) or wrapping(head)):
                error.hint = whole
            raise
        file.require_same()
    if found is None:
        raise NotADump(f"{url} has no headers with registers or VMCOREINFO", hint=whole)
    return found


def _id_by_beginning(path: Path, world: World) -> CrashId | None:
    """The id by the beginning of a packed dump; no more is unpacked."""

    class Found(Exception):
        """It ends the unpacking."""

    intake = Intake(world.config.intake, kind_of)
    found: CrashId | None = None
    with (
        suppress(Found, CasError),
        scratch(_large_place(world)) as directory,
        Storing([path], directory, intake, Silent()) as storing,
    ):
        with opened_source(storing.head()) as source:
            found = crash_id_by_headers(str(path), source)
        raise Found
    return found


def _identify_packed(verb: str, path: Path, member: str | None, world: World) -> Dump:
    """The dump in an upload, as if it were there unpacked, and what its wrapping lost.

    :param verb: what to call again where there is no room
    """
    try:
        with scratch(_large_place(world)) as directory:
            intake = Intake(world.config.intake, kind_of, member)
            upload = path
            if path in world.held:  # only root could open it
                upload = directory / "upload" / path.name
                upload.parent.mkdir()
                with world.progress.bar(f"Taking over {path.name}", None):
                    take_over(world.held[path], upload, world.config.intake)
            with (
                _given_name_told(upload, path),
                Storing([upload], directory, intake, world.progress) as storing,
            ):
                stored = storing.stored()
                vmcore, missing = stored.vmcore, stored.missing
                if stored.parts:
                    vmcore = directory / "joined"
                    missing = (*missing, *reassemble(stored.parts, vmcore))
                with _given_name_told(vmcore, path):
                    dump = with_reason(identify(vmcore, _search_bytes(world)), missing)
    except DiskFull as error:
        again = f"TMPDIR=DIRECTORY {shell_command('cas', [verb, str(path)])}"
        error.hint = f"to unpack it where there is room: {again}"
        raise
    missing = (*missing, *dump.missing)
    return replace(dump, path=path, missing=missing, remarks=(*stored.remarks, *dump.remarks))


def _search_bytes(world: World) -> int:
    return world.config.buffer_size_bytes or SEARCH_BYTES


def _large_place(world: World) -> Path | None:
    return None if "TMPDIR" in world.environment else LARGE


@contextmanager
def _given_name_told(vmcore: Path, path: Path) -> Iterator[None]:
    """Name what was given in the place of what was unpacked, which goes."""
    try:
        yield
    except NotADump as error:
        said = str(error).replace(str(vmcore), str(path))
        raise type(error)(said, hint=error.hint, offset=error.offset) from error
