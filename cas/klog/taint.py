"""What the taint letters mean.

Source: ``taint_flags`` in ``kernel/panic.c``, the same for the kernel and its modules since Linux
4.10 (7fd8329ba502), and Documentation/admin-guide/tainted-kernels.rst.
"""

from __future__ import annotations

from collections.abc import Iterable

from cas.model.answer import Kmod

LETTERS = {
    "P": "proprietary module loaded",
    "F": "module loaded by force",
    "S": "CPU or system out of specification",
    "R": "module unloaded by force",
    "M": "machine check seen",
    "B": "bad page seen",
    "U": "userspace asked for the taint",
    "D": "has died in an oops or BUG",
    "A": "ACPI table overridden",
    "W": "warning seen",
    "C": "staging driver loaded",
    "I": "firmware bug worked around",
    "O": "out-of-tree module loaded",
    "E": "unsigned module loaded",
    "L": "soft lockup seen",
    "K": "live patched",
    "X": "set by the distribution",
    "T": "structures laid out at random",
    "N": "in-kernel test run",
    "J": "firmware changed through fwctl",
}
"""``G`` is not among them: it only says that there is no ``P``."""

SUSPECT = frozenset("PFRCOEK")
"""Letters that a kernel module can carry and that make it worth a look."""


def describe_taint(letters: str | None) -> str:
    """Taint letters with their meaning.

    :param letters: as the kernel prints them; ``None`` when they are not known
    """
    if letters is None:
        return "unknown"
    known = [letter for letter in LETTERS if letter in letters]
    unknown = sorted(set(letters) - set(LETTERS) - {"G", " ", "-"})
    if not known and not unknown:
        return "not tainted"
    meanings = [LETTERS[letter] for letter in known] + [
        f"{letter} is unknown" for letter in unknown
    ]
    return f"{''.join(known + unknown)}: {'; '.join(meanings)}"


def suspects(kmods: Iterable[Kmod]) -> tuple[Kmod, ...]:
    """Those that are out-of-tree, proprietary, unsigned, forced, staging or live patches."""
    return tuple(kmod for kmod in kmods if SUSPECT & set(kmod.taint))


def describe_kmods(kmods: tuple[Kmod, ...] | None) -> str:
    """The suspect kernel modules with their letters, and how many are loaded.

    :param kmods: ``None`` when they are not known
    """
    if kmods is None:
        return "unknown"
    if not kmods:
        return "none loaded"
    marked = [f"{kmod.name} ({kmod.taint})" for kmod in suspects(kmods)]
    if not marked:
        return f"{len(kmods)} loaded, none of them out-of-tree, proprietary or unsigned"
    return f"{', '.join(marked)}; {len(kmods)} loaded"
