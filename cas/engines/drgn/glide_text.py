"""The deep trace as text, line by line, from its records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cas.text import count, printable

Record = Mapping[str, Any]

INDENT = "    "
PIDS = 20
"""Tasks with the same stack that are named one by one."""
REGISTERS = 4
"""In a line."""

_ROLES = {
    "panic": "panic task",
    "cpu": "on CPU {cpu}",
    "blocked": "in uninterruptible sleep",
    "other": "",
}
_DECLARATOR = re.compile(r"(\(\*+)(\))")


def lines_of_record(record: Record) -> Iterator[str]:
    """The lines of one record; names out of a dump cannot make a line of their own."""
    for line in _DRAWN[record["kind"]](record):
        yield printable(line).replace("\n", "\\n")


def declared(kind: str, name: str) -> str:
    """A variable with its type, as C has it: ``char buf[16]``, ``void (*func)(int)``."""
    if not kind or not name or name.startswith("["):
        return f"{kind} {name}".strip()
    if "(*" in kind:
        return _DECLARATOR.sub(rf"\g<1>{name}\g<2>", kind, count=1)
    before, bracket, behind = kind.partition("[")
    before = before.rstrip()
    return f"{before}{'' if before.endswith('*') else ' '}{name}{bracket}{behind}"


def lines_of_value(value: Record, indent: str) -> Iterator[str]:
    """A value, with its members below it."""
    said = [value["value"]] if value["value"] else []
    said += [value["note"]] if value.get("note") else []
    said += [f"= above {value['above']}"] if value.get("above") else []
    if short := _short_array(value):
        said, value = [*said, short], {**value, "members": (), "left_out": 0}
    members, zeros = value.get("members", ()), value.get("zeros", 0)
    left_out = value.get("left_out", 0)
    is_open = bool(members or zeros or left_out)
    text = "  ".join(said) or ("" if is_open else "{}")
    head = f"{indent}{declared(value['type'], value['name'])} = {text}"
    if not is_open:
        yield head
        return
    yield f"{head.rstrip()} {{"
    for member in members:
        yield from lines_of_value(member, indent + INDENT)
    is_array = value["type"].endswith("]")
    rest = [f"{count(zeros, 'element' if is_array else 'member')} of zeros"] if zeros else []
    rest += [f"{left_out:,} more"] if left_out else []
    if rest:
        yield f"{indent}{INDENT}… {', '.join(rest)}"
    yield f"{indent}}}"


def _short_array(value: Record) -> str | None:
    """Plain elements, on a line."""
    members = value.get("members", ())
    if not members or not all(
        each["name"].startswith("[") and each["value"] and each.keys() == {"name", "type", "value"}
        for each in members
    ):
        return None
    left_out = value.get("left_out", 0)
    rest = f", … {left_out:,} more" if left_out else ""
    return f"{{{', '.join(each['value'] for each in members)}{rest}}}"


def _start(record: Record) -> Iterator[str]:
    modules = ", ".join(record["modules"])
    yield f"Linux {record['osrelease'] or '?'}" + (f"; modules: {modules}" if modules else "")


def _task(record: Record) -> Iterator[str]:
    role = _ROLES[record["role"]].format(cpu=record["cpu"])
    facts = [_name(record), role, record["state"] or ""]
    yield ""
    yield ", ".join(filter(None, facts))
    if alike := record["alike"]:
        yield f"{INDENT}and with the same stack {count(len(alike), 'more task')}:"
        named = ", ".join(map(_name, alike[:PIDS]))
        rest = len(alike) - PIDS
        yield f"{INDENT * 2}{named}" + (f" and {rest:,} more" if rest > 0 else "")
    if record["problem"]:
        yield f"{INDENT}({record['problem']})"
    yield from _notes(record["notes"], INDENT)


def _name(task: Record) -> str:
    pid = "?" if task["pid"] is None else task["pid"]
    idle = f" CPU {task['cpu']}" if pid == 0 else ""
    return f"pid {pid}{idle} ({task['comm'] or '?'})"


def _frame(record: Record) -> Iterator[str]:
    if record["is_exception"]:
        yield f"{INDENT}--- exception ---"
    place = record["function"] or record["pc"]
    if record["offset"] is not None:
        size = f"/{record['size']:#x}" if record["size"] else ""
        place = f"{place}+{record['offset']:#x}{size}"
    kmod = f" [{record['kmod']}]" if record["kmod"] else ""
    line = f":{record['line']}" if record["line"] else ""
    file = f" ({record['file']}{line})" if record["file"] else ""
    inlined = " inlined" if record["inlined"] else ""
    yield f"#{record['number']:<3}{place}{kmod}{file}{inlined}"
    registers = [f"{name} {value}" for name, value in record["registers"].items()]
    for at in range(0, len(registers), REGISTERS):
        yield f"{INDENT * 2}{'  '.join(registers[at : at + REGISTERS])}"
    for value in record["variables"]:
        yield from lines_of_value(value, INDENT * 2)
    yield from _notes(record["notes"], INDENT * 2)


def _section(record: Record) -> Iterator[str]:
    yield ""
    yield f"== {record['module']} =="
    yield from _notes(record["lines"], "", is_named=False)


def _notes(notes: list[Record], indent: str, *, is_named: bool = True) -> Iterator[str]:
    for note in notes:
        if "value" in note:
            yield from lines_of_value(note["value"], indent)
        else:
            module = f"{note['module']}: " if is_named else ""
            yield f"{indent}{module}{note['text']}"


def _remark(record: Record) -> Iterator[str]:
    yield ""
    yield f"! {record['text']}"


def _end(record: Record) -> Iterator[str]:
    yield ""
    if record["cut"]:
        yield f"! cut: {record['cut']}"
    yield (
        f"{count(record['tasks'], 'task')}, {count(record['stacks'], 'stack')},"
        f" {count(record['frames'], 'frame')}, {count(record['values'], 'value')}"
    )


_DRAWN = {
    "start": _start,
    "task": _task,
    "frame": _frame,
    "section": _section,
    "remark": _remark,
    "end": _end,
}
