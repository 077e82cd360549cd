"""The fault itself as text: the code, the source, the registers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cas.model.fault import Fault
from cas.model.report import Report
from cas.text import printable

_NAME_WIDTH = 6


class FaultPart(NamedTuple):
    """One section about the fault; all text is printable."""

    anchor: str
    title: str
    lines: tuple[str, ...]


def fault_parts(report: Report) -> tuple[FaultPart, ...]:
    """The sections about the fault; none where no code was stopped."""
    fault = report.fault
    if fault is None:
        return ()
    source: list[str] = []
    if fault.source is not None:
        source.append(f"{fault.source.file}, from {fault.source.found}")
        for number, text in enumerate(fault.source.lines, fault.source.first):
            mark = "=>" if number == fault.source.line else "  "
            source.append(f"{mark} {number:>6}  {text.expandtabs()}")
    registers = [f"from the {fault.registers_from}"] if fault.registers else []
    for name, value in fault.registers.items():
        meaning = fault.meanings.get(name)
        registers.append(
            f"{name:>{_NAME_WIDTH}} {value:016x}" + (f"  {meaning}" if meaning else "")
        )
    parts = (
        FaultPart("fault-code", "Code that was stopped", tuple(_code_lines(fault))),
        FaultPart("fault-source", "Source of that code", tuple(map(_indented, source))),
        FaultPart("fault-registers", "Registers at the fault", tuple(map(_indented, registers))),
    )
    return tuple(part for part in parts if part.lines)


def _code_lines(fault: Fault) -> Iterator[str]:
    last: tuple[str | None, int | None] = (None, None)
    if fault.code:
        yield f"from the {_indented(fault.code_from)}"
    for each in fault.code:
        source = (each.file, each.line)
        if source not in (last, (None, None)):
            yield _indented(f"   {each.file}:{each.line}")
        last = source
        place = each.place or ("" if each.address is None else f"{each.address:#x}")
        mark = "=>" if each.is_fault else "  "
        yield _indented(f"{mark} {place}  {each.text}")


def _indented(text: str) -> str:
    """Printable text on a line, with its blanks."""
    return printable(text.expandtabs().replace("\n", " ")).rstrip()
