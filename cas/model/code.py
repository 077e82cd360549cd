"""Code of the crashed kernel: frames of a backtrace, places that a log names, lines of source."""

from __future__ import annotations

from cas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a backtrace; an inlined function is a frame of its own."""

    function: str
    offset: int | None = None
    """Bytes from the start of the function; ``None`` for inlined frames."""
    pc: int | None = None
    kmod: str | None = None
    """Kernel module that the code belongs to; ``None`` for vmlinux."""
    file: str | None = None
    line: int | None = None
    inlined: bool = False


@dataclass(frozen=True, slots=True)
class CodePlace:
    """Code as a kernel log names it: ``function+offset/size [kmod]``."""

    function: str
    offset: int
    size: int
    """Bytes to the next symbol; tells whether a function of that name is this one."""
    kmod: str | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where code of a kernel log stands in the source, as the debug information says."""

    place: CodePlace
    exact: tuple[Frame, ...]
    """The frames of the instruction, innermost first: what is inlined, then the function itself."""
    caller: tuple[Frame, ...]
    """The same of the call that returns there."""


@dataclass(frozen=True, slots=True)
class Located:
    """What was found of the places of a kernel log."""

    locations: tuple[Location, ...] = ()
    misfits: tuple[str | None, ...] = ()
    """Whose functions have other sizes, so that it is of another build: a kmod, or ``None`` for the
    vmlinux. Nothing of it is located."""
    problem: str | None = None
    """Why there may be more."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of the code around a fault."""

    address: int | None
    """``None``: the kernel log does not tell."""
    place: str
    """``cas_sum_entries+0x18``; empty: not known."""
    text: str
    """As the disassembler writes it, with the name of what it branches to."""
    file: str | None = None
    line: int | None = None
    is_fault: bool = False
    """It is the one that faulted; where no code is, the call that led there."""


@dataclass(frozen=True, slots=True)
class SourceLines:
    """Lines of the source around a fault."""

    file: str
    """As the debug information names it."""
    line: int
    """Which one faulted."""
    first: int
    """Number of the first of `lines`."""
    lines: tuple[str, ...]
    found: str
    """Where the file was."""
