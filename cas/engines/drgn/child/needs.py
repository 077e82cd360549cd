"""What a kernel has: symbols, types, configuration, as its vmlinux says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from drgn import Program, Type, TypeKind
from drgn.helpers.linux.kconfig import get_kconfig

from cas.choices import NeedKind

KINDS = ("struct ", "union ", "enum ", "")
_STRUCTURES = (TypeKind.STRUCT, TypeKind.UNION, TypeKind.CLASS)


def unmet(prog: Program, needs: Sequence[tuple[str, Sequence[str]]]) -> Iterator[int]:
    """Which needs a kernel does not meet, by their position; what cannot be told is met.

    :param needs: a kind (``symbol``, ``type`` or ``config``), and names of which one suffices
    """
    for number, (kind, names) in enumerate(needs):
        has = [_TESTS[kind](prog, name) for name in names]
        if has and all(each is False for each in has):
            yield number


def has_symbol(prog: Program, name: str) -> bool:
    """Whether the kernel, or a module of it, has a symbol or a variable of this name.

    A linker may rename static symbols; the debug information keeps the name.
    """
    try:
        prog.symbol(name)
    except LookupError:
        return name in prog
    return True


def has_type(prog: Program, name: str) -> bool:
    """Whether a type is defined, not only declared, and has the members after its dots."""
    head, *members = name.split(".")
    for kind in KINDS:
        with suppress(LookupError, SyntaxError):
            if _has_members(prog.type(kind + head), members):
                return True
    return False


def has_option(prog: Program, name: str) -> bool | None:
    """Whether the kernel was built with an option, as ``y`` or ``m``.

    :return: ``None`` where it does not carry its configuration (CONFIG_IKCONFIG), or the dump
        does not have that part of it
    """
    try:
        config = get_kconfig(prog)
    except Exception:  # as many ways as gzip and a dump have
        return None
    return config.get(f"CONFIG_{name.removeprefix('CONFIG_')}") in ("y", "m")


def _has_members(found: Type, members: Sequence[str]) -> bool:
    while found.kind in (TypeKind.TYPEDEF, TypeKind.ARRAY):
        found = found.type
    if found.kind in (*_STRUCTURES, TypeKind.ENUM) and not found.is_complete():
        return False
    if not members:
        return True
    if found.kind not in _STRUCTURES or not found.has_member(members[0]):
        return False
    return _has_members(found.member(members[0]).type, members[1:])


_TESTS: Mapping[str, Callable[[Program, str], bool | None]] = {
    NeedKind.SYMBOL: has_symbol,
    NeedKind.TYPE: has_type,
    NeedKind.CONFIG: has_option,
}
