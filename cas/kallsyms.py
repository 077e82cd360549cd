"""What a kernel would list of an ELF file's symbols, and how large it says that functions are.

The size is the distance to the next symbol (``kernel/kallsyms.c``: get_symbol_pos()).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping

from cas import elf

_KINDS = (0, 1, 2, 10)
"""NOTYPE, OBJECT, FUNC, GNU_IFUNC: what kallsyms lists (``scripts/kallsyms.c``)."""


def starts(read: elf.Read, sections: Mapping[int, int] | None = None) -> list[int]:
    """Where the symbols begin, in order.

    :param sections: where each section was put, of a kmod; ``None``: the file is linked
    """
    names, symbols = elf.symbols(read, elf.header(read))
    return sorted({address for _, address in _listed(names, symbols, sections)})


def sizes(read: elf.Read, wanted: Container[bytes]) -> dict[str, frozenset[int]]:
    """The sizes of functions of a linked file, by name; of one name there may be several.

    :raises NotADump: it is no ELF file
    """
    names, symbols = elf.symbols(read, elf.header(read))
    found, begins = list[tuple[str, int]](), set[int]()
    for at, address in _listed(names, symbols, None):
        begins.add(address)
        name = names[at : names.find(b"\0", at)]
        if name in wanted:
            found.append((name.decode("ascii", "replace"), address))
    ordered = sorted(begins)
    sizes: dict[str, set[int]] = {}
    for text, address in found:
        following = bisect_right(ordered, address)
        if following < len(ordered):
            sizes.setdefault(text, set()).add(ordered[following] - address)
    return {text: frozenset(each) for text, each in sizes.items()}


def _listed(
    names: bytes, symbols: Iterator[elf.Symbol], sections: Mapping[int, int] | None
) -> Iterator[tuple[int, int]]:
    """Where the name of each symbol is, and its address."""
    for each in symbols:
        # not $x of arm and riscv, which tells code from data, nor .L of compilers
        if each.type not in _KINDS or names[each.name : each.name + 1] in (b"$", b".", b"\0"):
            continue
        if sections is None and each.section:
            yield each.name, each.value
        elif sections and each.section in sections:
            yield each.name, sections[each.section] + each.value
