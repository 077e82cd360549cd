"""Where code of a kernel log stands in the source, by the debug information alone, without a dump.

The kernel names code as ``function+offset/size`` (``lib/vsprintf.c``: symbol_string()). The size
tells whether a symbol of the same name is the same code.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from drgn import Module, ModuleFileStatus, Program, Symbol, SymbolKind

from cas import elf, kallsyms
from cas.engines.drgn.child.target import BITS_64, CannotOpen, File
from cas.errors import NotADump

_KMODS_BEGIN = {64: 0x1000_0000_0000, 32: 0x1000_0000}
"""Where kmods are put, one behind the other, by the bits of an address: no kernel is there."""
_PAGE = 4096
_ALLOCATED = 2
"""SHF_ALLOC: the section is part of the loaded code or data."""


class Place(NamedTuple):
    """Code as a kernel log names it."""

    function: str
    offset: int
    size: int
    kmod: str | None


class Located(NamedTuple):
    """What is known of a place."""

    exact: list[dict[str, Any]]
    """Function, file and line, innermost first: what is inlined before what it is inlined in."""
    caller: list[dict[str, Any]]
    """The same of the call that returns there."""


class Misfit(Exception):
    """A function of that name is there, but of another size: the code is another build's."""


class _Code:
    """The functions of one file, and where its symbols begin."""

    def __init__(
        self, prog: Program, module: Module, file: File, sections: Mapping[int, int] | None = None
    ) -> None:
        """:param sections: where each section was put, of a kmod; ``None``: the file is linked"""
        self._prog = prog
        self._file = file
        self._sections = sections
        self.begin: int
        self.end: int
        self.begin, self.end = module.address_range or (0, 0)

    def start_of(self, place: Place) -> int | None:
        """Address of the function that a place is in; ``None``: there is none of that name.

        :raises Misfit: none of those has the size
        :raises LookupError: there are several, and nothing tells which
        """
        symbols = self._prog.symbols(place.function)
        named = [each for each in symbols if self.begin <= each.address < self.end]
        starts = {each.address for each in named if self._has_size(each, place.size)}
        # of a label in assembly kallsyms may know others
        if not starts and any(each.kind is SymbolKind.FUNC for each in named):
            raise Misfit
        if len(starts) > 1:
            raise LookupError
        return int(starts.pop()) if starts else None

    def _has_size(self, symbol: Symbol, size: int) -> bool:
        """Whether the kernel would say that a function of ours is so large.

        The last function of a kmod's section reaches to what the kernel has put behind it, which
        only its memory tells (``kernel/module/kallsyms.c``: find_kallsyms_symbol()).
        """
        if symbol.size == size:
            return True
        at = bisect_right(self.starts, symbol.address)
        until = self.starts[at] if at < len(self.starts) else self.end
        ends = self._section_ends
        if ends and until >= next(end for end in ends if end > symbol.address):
            return size >= int(symbol.size)
        return until - int(symbol.address) == size

    @cached_property
    def starts(self) -> list[int]:
        """Where the symbols begin that kallsyms would list, in order."""
        return kallsyms.starts(_reader(self._file), self._sections)

    @cached_property
    def _section_ends(self) -> list[int]:
        """Where a kmod's sections end, in order, and last the kmod."""
        if self._sections is None:
            return []
        sizes = [each.size for each, _ in _named_sections(self._file)]
        return [*sorted(at + sizes[n] for n, at in self._sections.items()), self.end]


class Locator:
    """A kernel's debug information in drgn, and no memory."""

    def __init__(self, vmlinux: File) -> None:
        """Load it.

        :raises CannotOpen: it has none
        """
        self.vmlinux = vmlinux
        self._state = vmlinux.state
        """What the file was before it was read."""
        self.prog = Program()
        self.prog.set_enabled_debug_info_finders([])
        module = self.prog.extra_module("kernel", 0, create=True)
        module.try_file(vmlinux.name, fd=vmlinux.another(), force=True)
        if module.debug_file_status != ModuleFileStatus.HAVE:
            raise CannotOpen(f"{vmlinux.name} has no debug information")
        loads = [one for one in _segments(vmlinux) if one.memsz and one.vaddr >= _PAGE]
        # per-CPU variables have a segment at 0 on x86_64
        if loads:
            module.address_range = (
                min(one.vaddr for one in loads),
                max(one.vaddr + one.memsz for one in loads),
            )
        self._codes: dict[str | None, _Code] = {None: _Code(self.prog, module, vmlinux)}
        self._free = 0
        """Where the next kmod is put."""

    def serves(self, vmlinux: File) -> bool:
        """Whether this is of a file, as it is now, and nothing was added to it."""
        return self._state == vmlinux.state and [*self._codes] == [None]

    def read_ahead(self) -> None:
        """Read what is needed of the kernel's own code, whichever it is."""
        code = self._codes[None]
        if code.starts:
            self._lines(code.begin)

    def add_kmod(self, name: str, file: File) -> None:
        """Load a kmod's debug information; what cannot be loaded is as if it were not there."""
        if not self._free:
            is_64_bit = bool(self.prog.platform and self.prog.platform.flags & BITS_64)
            self._free = _KMODS_BEGIN[64 if is_64_bit else 32]
        module = self.prog.relocatable_module(name, self._free, create=True)
        begin = self._free
        addresses: dict[int, int] = {}
        for number, (section, title) in enumerate(_named_sections(file)):
            if section.flags & _ALLOCATED:
                align = max(section.addralign, 1)
                self._free = -(-self._free // align) * align
                module.section_addresses[title] = addresses[number] = self._free
                self._free += section.size
        self._free = -(-(self._free + 1) // _PAGE) * _PAGE
        module.try_file(file.name, fd=file.another(), force=True)
        if module.debug_file_status == ModuleFileStatus.HAVE:
            module.address_range = (begin, self._free)
            self._codes[name] = _Code(self.prog, module, file, addresses)

    def locate(self, place: Place) -> Located | None:
        """Where a place is; ``None``: that is not known.

        :raises Misfit: the kernel's, or the kmod's, code is another build's
        """
        at = self.address_of(place)
        if at is None:
            return None
        return Located(self._lines(at), self._lines(at - 1) if place.offset else self._lines(at))

    def address_of(self, place: Place) -> int | None:
        """Where a place is in this program; ``None``: that is not known.

        :raises Misfit: as `locate`
        """
        code = self._codes.get(place.kmod)
        try:
            start = code.start_of(place) if code else None
        except LookupError:
            return None
        return None if start is None else start + place.offset

    def misfits(self, places: Iterable[Place]) -> list[str | None]:
        """The names of the kmods whose code is another build's; ``None``: the kernel's."""
        found: dict[str | None, None] = {}
        for place in places:
            try:
                self.locate(place)
            except Misfit:
                found[place.kmod] = None
        return list(found)

    def _lines(self, address: int) -> list[dict[str, Any]]:
        try:
            found = self.prog.source_location(address)
        except LookupError:
            return []
        return [{"function": one.name(), "file": one.filename, "line": one.line} for one in found]


def locate_all(locator: Locator, places: Iterable[Place], into: dict[str, Any]) -> None:
    """Locate places one after another, so that what was found in the time is there.

    :param into: gets ``places``, a list with ``None`` for what is not known, and ``misfits``, of
        whose code some is another build's: the kernel's is ``""``
    """
    found = into["places"] = list[Any]()
    misfits = into["misfits"] = list[str]()
    for place in places:
        try:
            located = locator.locate(place)
        except Misfit:
            located = None
            if (place.kmod or "") not in misfits:
                misfits.append(place.kmod or "")
        found.append(located and located._asdict())


def _reader(file: File) -> elf.Read:
    return lambda offset, size: os.pread(file.descriptor, size, offset)


def _segments(file: File) -> tuple[elf.Segment, ...]:
    try:
        return elf.segments(_reader(file), elf.header(_reader(file)))
    except NotADump:
        return ()


def _named_sections(file: File) -> list[tuple[elf.Section, str]]:
    read = _reader(file)
    try:
        header = elf.header(read)
        table = elf.sections(read, header)
        names = table[header.shstrndx]
        data = read(names.offset, names.size)
    except (NotADump, IndexError):
        return []
    return [(each, _text_at(data, each.name)) for each in table]


def _text_at(data: bytes, offset: int) -> str:
    return data[offset : max(offset, data.find(b"\0", offset))].decode("utf-8", "replace")
