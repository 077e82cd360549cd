"""A kernel without a dump: what its vmlinux says, for a user who has only a kernel log."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from drgn import FaultError, Program
from drgn.commands import CommandError

from cas import elf
from cas.engines.drgn.child.commands import Command
from cas.engines.drgn.child.locate import Locator, Place
from cas.engines.drgn.child.target import File, Misfit

NO_MEMORY = "there is no dump, only a kernel log: no memory can be read"
_COMMANDS = frozenset(
    {"*", "ascii", "dis", "drgn", "eval", "help", "struct", "sym", "union", "whatis"}
)
"""Those that have an answer without memory."""
_READ_ONLY_CODE = 2  # SHF_ALLOC without SHF_WRITE, 1


class WithoutMemory:
    """A vmlinux and debug files of kmods, opened in drgn.

    Of memory it has what the vmlinux says that is not written to, as it was linked: code and its
    tables. That is not so of `.rodata`, which a kernel completes while it boots.
    """

    def __init__(
        self, vmlinux: File, kmods: Mapping[str, File], log: Path, places: Sequence[Place]
    ) -> None:
        """Open them.

        :param log: the kernel log, which ``log`` shows
        :param places: that a kernel log names; empty: the vmlinux may be another kernel's
        :raises Misfit: the functions there have other sizes
        :raises CannotOpen: the vmlinux has no debug information
        """
        locator = Locator(vmlinux)
        for name, file in kmods.items():
            locator.add_kmod(name, file)
        misfits = locator.misfits(places)
        if None in misfits:
            raise Misfit("its functions have other sizes than in the log")
        self.prog = locator.prog
        self._log = log
        self.remarks = [
            f"{NO_MEMORY}; addresses are those of the vmlinux, as it was linked",
            *(f"what is there of {name} is of another build than in the log" for name in misfits),
        ]
        self.prog.add_memory_segment(0, elf.MAX_ADDRESS, _raise_fault)
        _add_unwritten(self.prog, vmlinux)

    def describe_all(self) -> None:
        """Nothing else was loaded that could be told of."""

    def own_commands(self, names: frozenset[str]) -> Mapping[str, Command]:
        """What stands in the place of commands that need memory."""
        return {**dict.fromkeys(names - _COMMANDS, _refuse), "log": self._show_log}

    def _show_log(self, _: Program, __: Sequence[str]) -> None:
        sys.stdout.write(self._log.read_text("utf-8", "backslashreplace"))


def _refuse(_: Program, __: Sequence[str]) -> None:
    there_are = ", ".join(sorted({"log", *_COMMANDS} - {"*"}))
    raise CommandError(f"{NO_MEMORY}; of the commands there are {there_are}")


def _add_unwritten(prog: Program, vmlinux: File) -> None:
    def read(offset: int, size: int) -> bytes:
        return os.pread(vmlinux.descriptor, size, offset)

    for section in elf.sections(read, elf.header(read)):
        is_unwritten = section.flags & 3 == _READ_ONLY_CODE and section.type == elf.SHT_PROGBITS
        if is_unwritten and section.addr and section.size:
            at = section.offset

            def answer(_: int, size: int, offset: int, _physical: bool, at: int = at) -> bytes:
                return read(at + offset, size)

            prog.add_memory_segment(section.addr, section.size, answer)


def _raise_fault(address: int, _size: int, _offset: int, _physical: bool) -> bytes:
    raise FaultError(NO_MEMORY, address)
