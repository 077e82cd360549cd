"""What a detector needs of a dump, said before it runs."""

from __future__ import annotations

from drgn import ObjectNotFoundError, Program

from cas.detectors.case import Case
from cas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """Empty fields ask for nothing; of names parted by ``|`` in one string one will do."""

    archs: tuple[str, ...] = ()
    """In ``uname -m`` spelling."""
    kinds: tuple[str, ...] = ()
    """Kinds of crashes, values of :class:`cas.choices.Kind`."""
    kmods: tuple[str, ...] = ()
    """Kernel modules that must be loaded, as the kernel spells them."""
    symbols: tuple[str, ...] = ()
    """Variables and functions, e.g. ``("nr_threads", "slab_caches|cache_chain")``."""
    types: tuple[str, ...] = ()
    """Such as ``struct mutex``."""


def unmet(needs: Needs, case: Case) -> str | None:
    """What of a detector's needs the dump has not, in words; ``None``: it has all."""
    if needs.archs and case.arch not in needs.archs:
        return f"it is for {', '.join(needs.archs)}"
    if needs.kinds and case.kind not in needs.kinds:
        return f"the crash is of another kind ({case.kind or 'unknown'})"
    for names in needs.kmods:
        if not any(name in case.kmods for name in names.split("|")):
            return f"the kernel module {names} is not loaded"
    for names in needs.symbols:
        if not any(name in case.prog or _is_function(case.prog, name) for name in names.split("|")):
            return f"the kernel has no {names}"
    for names in needs.types:
        if not any(has_type(case.prog, name) for name in names.split("|")):
            return f"the kernel has no {names}"
    return None


def _is_function(prog: Program, name: str) -> bool:
    try:
        prog.symbol(name)
    except LookupError:
        return False
    return True


def has_type(prog: Program, name: str) -> bool:
    """Whether there is debug information of a type, such as ``struct mutex``."""
    try:
        prog.type(name)
    except (LookupError, ObjectNotFoundError, SyntaxError):
        return False
    return True
