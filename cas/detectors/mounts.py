"""Mounted file systems, and where they are mounted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from drgn import Object
from drgn.helpers.linux.fs import mount_dst, super_block_for_each_mount
from drgn.helpers.linux.list import list_for_each_entry

from cas.detectors.case import Broken, Case

MAX_SUPER_BLOCKS = 10_000
TIME_SHARE = 0.6
"""Share of a detector's time after which no more file systems are looked at."""
MAX_MOUNTS = 3
"""Mounts of one file system that are named."""


def super_blocks(case: Case, types: Collection[str] = ()) -> Iterator[Object]:
    """The file systems there are, ``struct super_block *``, as many as there is time for.

    :param types: of their names, e.g. ``ext4``; empty: all
    :raises FaultError: the list breaks off
    """
    every = list_for_each_entry(
        "struct super_block", case.prog["super_blocks"].address_of_(), "s_list"
    )
    for number, sb in enumerate(islice(every, MAX_SUPER_BLOCKS)):
        if case.clock.is_used(TIME_SHARE):
            case.remark(f"looked at {number:,} file systems, of more")
            return
        if not types or type_name(case, sb) in types:
            yield sb


def type_name(case: Case, sb: Object) -> str:
    """The name of a file system's type."""
    return case.text(sb.s_type.name, 32)


def mounts(sb: Object) -> Iterator[Object]:
    """``struct mount *`` of a file system, a few of them.

    Another kind of list since Linux 6.18 (09a1b33c080f); drgn knows both.
    """
    yield from islice(super_block_for_each_mount(sb), MAX_MOUNTS)


def mount_points(case: Case, sb: Object) -> list[str]:
    """Where a file system is mounted; empty: nowhere that can be read."""
    found: list[str] = []
    try:
        for mount in mounts(sb):
            found.append(case.text(mount_dst(mount)))
    except Broken:
        pass
    return found


def called(case: Case, sb: Object) -> str:
    """A file system in a sentence: ``ext4 on loop0 (/mnt)``."""
    points = mount_points(case, sb)
    where = f" ({', '.join(points)})" if points else ""
    return f"{type_name(case, sb)} on {case.text(sb.s_id, 32)}{where}"
