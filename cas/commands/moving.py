"""``cas move``: which crashes go where, and what is told of each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cas.archive.archive import Archive
from cas.archive.freeing import freeable_bytes
from cas.archive.move_notes import LOCAL, MOVES, StaysHere
from cas.archive.moving import (
    Moved,
    Mover,
    last_used_s,
    movable_files,
    moved_files,
    require_movable,
    store_prefix,
)
from cas.archive.record import Info
from cas.commands.archive_access import opened_archive
from cas.commands.crash_spec import chosen_crashes
from cas.commands.invocation import Done, Output, World
from cas.errors import CasError, ConfigError, DiskFull, TryAgain, UsageError
from cas.fetch.source import Denied, FetchPolicy
from cas.frozen import dataclass
from cas.model.archived import Selection
from cas.settings.person import person
from cas.units import human_size

SOME_STAY = 1


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """What a command line asks for."""

    words: tuple[str, ...]
    target: str | None
    is_due: bool
    is_dry: bool


def move(order: MoveOrder, world: World) -> Output:
    """Move the crashes that are meant.

    :raises UsageError: it is not said which, or where to
    :raises CasError: a file could not be moved
    """
    target = _target(order, world)
    archive = opened_archive(world)
    by = person(world.environment, world.config)
    mover = Mover(archive, FetchPolicy.of(world.config), world.progress, by)
    infos = list(_meant(order, target, archive, world))
    if not infos:
        what = "is due to be moved" if order.is_due else "of the archive is meant"
        (world.progress.say if order.is_due else world.progress.warn)(f"no crash {what}")
    if order.is_dry:
        yield from _foreseen(infos, target, archive)
        return 0
    if (archive.path / MOVES).is_dir():
        mover.finish_moves({info.id for info in infos})
    if not infos:
        return 0 if order.is_due else 2
    one = mover.bring_back if target == LOCAL else partial(mover.move_away, prefix=target)
    sizes, stays, failed = 0, 0, list[CasError]()
    for number, info in enumerate(infos):
        try:
            moved = one(info.id)
        except StaysHere as error:
            if len(infos) == 1 and not order.is_due:
                raise
            stays += 1
            world.progress.warn(f"{error}; {error.hint}")
        except CasError as error:
            if len(infos) == 1:
                raise
            if _is_of_all(error):
                error.hint = (
                    f"{number:,} of {len(infos):,} crashes were looked at before; {error.hint}"
                )
                raise
            failed.append(error)
            world.progress.warn(f"{error}; {error.hint}".removesuffix("; "))
        else:
            sizes += moved.freed_bytes
            yield from _told(info, moved, target, world)
    if len(infos) > 1 and target != LOCAL:
        world.progress.say(f"{human_size(sizes)} of the disk freed")
    if failed:
        raise type(failed[0])(f"{len(failed):,} of {len(infos):,} crashes could not be moved")
    return SOME_STAY if stays and not order.is_due else 0


def _is_of_all(error: CasError) -> bool:
    """Whether what keeps one crash from being moved keeps the others, too."""
    return isinstance(error, ConfigError | Denied | DiskFull | TryAgain)


def _target(order: MoveOrder, world: World) -> str:
    """Where to.

    :raises UsageError: it is not said
    :raises ConfigError: cas.conf does not say what is due
    """
    rules = world.config.tier
    if order.is_due and rules.after_s is None:
        raise ConfigError(
            "nothing is ever due: `tierAfter` of cas.conf is not set",
            hint="set `tierAfter = 30 days` and `tierStore = s3://BUCKET/PREFIX` in cas.conf",
        )
    target = order.target or (rules.store if order.is_due else None)
    if target is None or (order.is_due and target == LOCAL):
        raise UsageError(
            "it is not said where to",
            hint="add --to s3://BUCKET/PREFIX, or --to local"
            + "; or set `tierStore` in cas.conf" * order.is_due,
        )
    if not order.words and not order.is_due:
        raise UsageError(
            "it is not said which crashes", hint="for example: cas move 76998f82 --to local"
        )
    return target if target == LOCAL else store_prefix(target)


def _meant(order: MoveOrder, target: str, archive: Archive, world: World) -> Iterator[Info]:
    chosen = chosen_crashes(order.words, world, archive) if order.words else Selection()
    now_s, after_s = world.now.timestamp(), world.config.tier.after_s
    for line in archive.store.crashes.lines(chosen):
        info = archive.read(line.id)
        if order.is_due:
            assert after_s is not None  # noqa: S101  see `_target`
            is_old = now_s - last_used_s(archive, info) >= after_s
            if not is_old or not movable_files(archive, info):
                continue
        yield info


def _foreseen(infos: list[Info], target: str, archive: Archive) -> Iterator[str]:
    """What would be done, a line for each crash."""
    for info in infos:
        what = f"{info.id} would be moved to {target}"
        if target == LOCAL:
            files = moved_files(info)
            size = sum(file.size_bytes for file in files)
        else:
            files = movable_files(archive, info)
            size = freeable_bytes([path for f in files if (path := archive.path_of(info, f))])
            size = size or sum(file.size_bytes for file in files)
        if not files:
            yield _nothing(info, target)
            continue
        try:
            if target != LOCAL:
                require_movable(archive, info)
        except StaysHere as error:
            yield str(error)
        else:
            yield f"{what}  {human_size(size)}"


def _nothing(info: Info, target: str) -> str:
    purged = [file for file in info.files if file.purged_s is not None]
    if purged and len(purged) == len(info.files):
        copies = " ".join(file.copy.url for file in purged if file.copy)
        back = f"; a copy may be in the store still: cas upload {copies}" if copies else ""
        return f"the files of {info.id} were purged{back}"
    if target == LOCAL:
        return f"{info.id} has no file in a store"
    places = ", ".join(file.copy.url for file in moved_files(info) if file.copy)
    return f"{info.id} is in {places}" if places else f"{info.id} has no file that could be moved"


def _told(info: Info, moved: Moved, target: str, world: World) -> Iterator[str]:
    for remark in moved.remarks:
        world.progress.warn(remark)
    if moved.behind:
        world.progress.warn(f"{moved.behind}; {moved.behind.hint}")
    if not moved.files:
        world.progress.say(_nothing(info, target))
    elif target == LOCAL:
        copies = ", ".join(file.copy.url for file in moved_files(info) if file.copy)
        yield Done(f"{info.id} is on this machine again; its copy stays: {copies}")
    else:
        yield Done(f"{info.id} is in {target} now; {human_size(moved.freed_bytes)} freed")
