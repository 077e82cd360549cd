"""The dump in a packed upload, read at any place before the upload is unpacked."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from cas.intake.unpack import KindOf
from cas.intake.upload_file import HEAD_BYTES
from cas.streams.random_access import Readable, unpacked_at_random
from cas.streams.stored_members import stored_members
from cas.streams.wrapping import PEEK_BYTES, wrapping

DEPTH = 4
"""Wrappings around one another, e.g. a tar archive in xz."""


def dump_inside(
    upload: Readable, kind_of: KindOf, scratch: Callable[[], BinaryIO], limit_bytes: int
) -> Readable | None:
    """The one dump in an upload whose wrappings allow to read it here and there.

    :param kind_of: as that of `Intake`
    :param scratch: gives an empty file for what is unpacked
    :param limit_bytes: most that is unpacked of one wrapping
    :return: ``None``: a wrapping can only be read from its beginning, or which file is the dump is
        not certain before all of them are unpacked
    :raises Damaged: a wrapping is not what it says
    """
    within: Readable | None = upload
    for _ in range(DEPTH):
        if within is None:
            return None
        if kind := kind_of(within.read(0, HEAD_BYTES)):
            return within if kind == "dump" else None
        members = stored_members(within)
        if members is None:
            within = unpacked_at_random(within, scratch(), limit_bytes)
        else:
            within = _only_dump(members, kind_of)
    return None


def _only_dump(members: list[Readable], kind_of: KindOf) -> Readable | None:
    """The member that is a dump, or has one in it."""
    found = list[Readable]()
    for member in members:
        head = member.read(0, HEAD_BYTES)
        if kind_of(head) or wrapping(head[:PEEK_BYTES]):
            found.append(member)
    return found[0] if len(found) == 1 else None
