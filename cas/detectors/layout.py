"""Structures whose layout differs from release to release, and parts that may be missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from drgn import Object

from cas.detectors.case import Broken, Case
from cas.text import one_line

MAX_CPUS = 8192
"""NR_CPUS of the largest kernels, arch/x86/Kconfig."""


def member(value: Object, *names: str) -> Object:
    """A structure's member by the first of its names in different releases that this one has.

    :raises LookupError: it has none of them
    """
    for name in names:
        try:
            return value.member_(name)
        except LookupError:
            continue
    raise LookupError(f"{value.type_.type_name()} has no {' or '.join(names)}")


@contextmanager
def looking_at(case: Case, what: str) -> Iterator[None]:
    """A part of what a detector looks at: where it cannot be read, the rest still is.

    :param what: it, for the remark
    """
    try:
        yield
    except (AttributeError, *Broken) as error:
        case.remark(f"{what}: {one_line(str(error))}")
