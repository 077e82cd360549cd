"""One dump into the archive: what is told on the way, and what is printed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from cas.archive import incoming
from cas.archive.archive import Archive
from cas.archive.crash_directories import NotArchived
from cas.archive.keeping import SETTLED, fingerprint_of, known_file, note_upload
from cas.archive.record import File, Info
from cas.choices import Fetch, Verdict
from cas.commands.auto_analyzers import run_auto_analyzers
from cas.commands.invocation import World, file_of
from cas.commands.mistakes import shell_command
from cas.commands.room import advise_room
from cas.commands.submit import resolved_order
from cas.engines.drgn.prestart import prestarted
from cas.errors import AGAIN, CasError, Interrupted, TryAgain
from cas.files.whole import writing_below
from cas.frozen import dataclass
from cas.jobs.order import FROM_STDIN, PIPE, Order
from cas.model.dump import Stored
from cas.triage.uploading import Uploaded, Uploader
from cas.units import human_size


@dataclass(frozen=True, slots=True)
class Finished:
    """What is printed of an upload that is in the archive."""

    crash_id: str
    status: int = 0
    """``TryAgain.exit_code``: something is not done, which the same command does later."""


def upload_file(word: str, archive: Archive, world: World) -> Finished:
    """Upload a dump.

    :param word: as it was typed: a file, a URL, or ``-``
    :raises CasError: it is not in the archive
    """
    order = _order_of(word, world)
    again = shell_command("cas", ["upload", word])
    if order.upload == FROM_STDIN or order.url or order.held:
        return _uploaded(order, archive, world, again)
    known = _known(order.upload, archive, world)
    if known is None:
        return _uploaded(order, archive, world, again)
    info, file = known
    _tell_known(file, info, world)
    if not file.is_uploaded:
        note_upload(archive, info.id, file.digest)
    if file.is_moved or _is_answered(info, file, archive):
        if title := info.facts.get("title"):
            world.progress.say(title)
        return Finished(info.id)
    with writing_below(archive.path):
        stored = incoming.reference_to(archive, info.id, fingerprint_of(file))
    with archive.using(info.id):
        return _uploaded(order, archive, world, again, stored)


def _order_of(word: str, world: World) -> Order:
    from cas.fetch.url import is_url

    is_far = is_url(word)
    path = PIPE if word == str(PIPE) else Path() if is_far else file_of(word)
    order = Order(incoming.NAME, path, url=word if is_far else None, fetch=Fetch.ALL)
    held = {path: world.held[path]} if path in world.held else {}
    return resolved_order(order, replace(world, held=held), ("upload",))


def _known(path: Path, archive: Archive, world: World) -> tuple[Info, File] | None:
    """The crash that has a plain dump already, and its file of the same content.

    One in a store counts if that says it is there: what may be lost is taken once more.
    """
    from cas.dump import kind_of
    from cas.dump.identify import crash_id
    from cas.dump.source import opened_source
    from cas.intake import is_plain

    if not is_plain(path, kind_of):
        return None
    try:
        with opened_source(path) as source:
            info = archive.read(crash_id(path, source).value)
        file = known_file(archive, info, path, partial(_is_in_store, archive, info, world))
    except NotArchived:
        return None
    except OSError as error:
        raise CasError(f"cannot read {path}: {error.strerror}") from error
    return (info, file) if file else None


def _is_in_store(archive: Archive, info: Info, world: World, file: File) -> bool:
    from cas.archive.stored_copy import is_in_store
    from cas.fetch.source import FetchPolicy

    try:
        return is_in_store(archive, info.id, file, FetchPolicy.of(world.config))
    except CasError as error:
        world.progress.warn(f"{error}: the file is kept here again")
        return False


def _tell_known(file: File, info: Info, world: World) -> None:
    where = f", in {file.at}" if file.is_moved else ""
    name = f"{file.name} of {info.id}{where}"
    world.progress.say(f"the archive has this file, as {name}: no second copy")


def _is_answered(info: Info, file: File, archive: Archive) -> bool:
    """Whether all is told of a crash that this file of it can tell."""
    best = info.best_file
    if best is None or best.digest != file.digest:
        return True
    is_told = bool(info.jobs) or archive.answer_of(info) is not None
    return is_told and info.facts_of == file.digest and info.facts.get("verdict") in SETTLED


def _uploaded(
    order: Order, archive: Archive, world: World, again: str, stored: Stored | None = None
) -> Finished:
    """Upload it anew, or go on with one of the same URL that was stopped."""
    with prestarted(world.config) as opened, ExitStack() as stack:
        try:
            job = incoming.begun_upload(archive, order.url, stack) if order.url else None
            if job is None:
                now = datetime.now(world.now.tzinfo)  # not the first of several begins with us
                job = stack.enter_context(incoming.new_upload(archive, order, now, stored))
            job = replace(job, order=replace(order, ticket=incoming.NAME))
            done = Uploader(archive, world.config, world.progress, opened, again).upload(job)
        except KeyboardInterrupt as interruption:
            raise Interrupted(f"to go on: {again}") from interruption
        except CasError as error:
            advise_room(error, world)
            error.hint = error.hint.replace(AGAIN, f"run: {again}")
            raise
    run_auto_analyzers(done.report, world)
    if done.is_known and stored is None:
        _tell_known(done.file, done.info, world)
    return _told(done, again, world)


def _told(done: Uploaded, again: str, world: World) -> Finished:
    """What is to be said of it besides the answer."""
    progress, best, status = world.progress, done.info.best_file, 0
    kept = [each for each in done.info.files if each.purged_s is None]
    if len(kept) > 1 and best:
        others = f"{len(kept)} files of this crash are kept"
        progress.say(
            f"{others}; the best is {best.name} ({best.format}, {human_size(best.size_bytes)})"
        )
        if done.info.is_weak:
            progress.warn(
                "they do not tell when it crashed, and may be of several crashes: "
                "what is told is of the best one alone"
            )
    if done.error:
        hint = done.error.hint.replace(AGAIN, f"run: {again}")
        progress.warn(f"{done.report.verdict}: {done.error}; {hint}".removesuffix("; "))
        status = TryAgain.exit_code if done.error.exit_code == TryAgain.exit_code else 0
    elif done.report.verdict is Verdict.PARTIAL:
        progress.warn(f"partial: {done.report.reason or 'see the report'}")
    if done.behind:
        progress.warn(f"{done.behind}; {done.behind.hint}")
        status = TryAgain.exit_code
    return Finished(done.info.id, status)
