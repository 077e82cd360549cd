"""What a kernel would list of an ELF file's symbols, and how large it says that functions are.

The size is the distance to the next symbol (``kernel/kallsyms.c``: get_symbol_pos()).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Mapping
from itertools import compress

from cas import elf

_KINDS = (0, 1, 2, 10)
"""NOTYPE, OBJECT, FUNC, GNU_IFUNC: what kallsyms lists (``scripts/kallsyms.c``)."""
_IS_LISTED_KIND = bytes(info & 0xF in _KINDS for info in range(256))
_IS_FIRST_OF_NAME = bytes(byte not in b"$.\0" for byte in range(256))
"""Not $x of arm and riscv, which tells code from data, nor .L of compilers."""


def starts(read: elf.Read, sections: Mapping[int, int] | None = None) -> list[int]:
    """Where the symbols begin, in order.

    :param sections: where each section was put, of a kmod; ``None``: the file is linked
    """
    table = elf.symbol_columns(read, elf.header(read))
    if sections is None:
        return sorted(set(compress(table.values, _is_listed(table))))
    placed = compress(zip(table.sections, table.values, strict=True), _is_listed(table))
    return sorted({sections[number] + value for number, value in placed if number in sections})


def sizes(read: elf.Read, wanted: Container[bytes]) -> dict[str, frozenset[int]]:
    """The sizes of functions of a linked file, by name; of one name there may be several.

    :raises NotADump: it is no ELF file
    """
    table = elf.symbol_columns(read, elf.header(read))
    is_listed, names = _is_listed(table), table.strings
    ordered = sorted(set(compress(table.values, is_listed)))
    sizes: dict[str, set[int]] = {}
    for at, address in compress(zip(table.names, table.values, strict=True), is_listed):
        name = names[at : names.find(b"\0", at)]
        following = bisect_right(ordered, address) if name in wanted else len(ordered)
        if following < len(ordered):
            found = sizes.setdefault(name.decode("ascii", "replace"), set())
            found.add(ordered[following] - address)
    return {text: frozenset(each) for text, each in sizes.items()}


def _is_listed(table: elf.SymbolColumns) -> bytes:
    """For each symbol 1 if it is listed: of hundreds of thousands, so column by column."""
    end = len(table.strings)
    firsts = bytes(table.strings[at] if at < end else 0 for at in table.names)
    named, kinds = firsts.translate(_IS_FIRST_OF_NAME), table.infos.translate(_IS_LISTED_KIND)
    return bytes(map(all, zip(named, kinds, table.sections, strict=True)))
