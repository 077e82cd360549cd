"""The last rung: what a dump says without any debugger or vmlinux.

Its reader has found the kernel log, VMCOREINFO and the registers of the notes already; here they
become sections, under the names of the snippets that they stand in for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cas.choices import Engine, SectionStatus
from cas.files.whole import put
from cas.model.dump import Dump, Registers
from cas.model.snippet import Section
from cas.units import human_size

TITLES = {
    "log": "Kernel log (read without a debugger)",
    "sys": "System (read without a debugger)",
    "registers": "Registers of the processors at the crash (from the dump's notes)",
}


def salvaged_sections(dump: Dump, directory: Path) -> tuple[Section, ...]:
    """Everything that can be told of a dump, each in its file."""
    found = (salvage(name, dump, directory / name) for name in TITLES)
    return tuple(section for section in found if section)


def salvage(name: str, dump: Dump, path: Path) -> Section | None:
    """What a snippet of this name would have told, as far as the dump alone says it.

    :return: ``None`` when it says nothing of the kind; the file is then left alone
    """
    text = ""
    if name == "log" and dump.dmesg:
        text = f"{dump.dmesg.rstrip()}\n"
    elif name == "sys":
        text = "".join(f"{line}\n" for line in _system_lines(dump))
    elif name == "registers":
        text = "\n".join(map(_registers_text, dump.registers))
    if not text:
        return None
    data = text.encode("utf-8", "surrogateescape")
    put(path, data)
    return Section(name, TITLES[name], SectionStatus.OK, Engine.SALVAGE, path, size_bytes=len(data))


def _system_lines(dump: Dump) -> Iterator[str]:
    facts = {
        "DUMPFILE": f"{dump.path.name} ({dump.format}, {human_size(dump.size_bytes)})",
        "DATE": dump.crash_time and dump.crash_time.strftime("%a %b %e %H:%M:%S UTC %Y"),
        "RELEASE": dump.osrelease,
        "VERSION": dump.banner,
        "MACHINE": dump.arch,
        "BUILD-ID": dump.build_id,
        "KASLR": None if dump.kaslr_offset is None else f"{dump.kaslr_offset:#x}",
        "CPUS": f"{len(dump.registers)} with registers in the dump" if dump.registers else None,
        "PANIC": dump.panic_message and f'"{dump.panic_message}"',
    }
    for name, value in facts.items():
        if value:
            yield f"{name:>12}: {value}"
    for missing in dump.missing:
        yield f"{'MISSING':>12}: {missing.what}"
    for key, value in dump.vmcoreinfo.items():
        yield f"{key}={value}"


def _registers_text(held: Registers) -> str:
    head = f"CPU {held.cpu}\n" if held.pid is None else f"CPU {held.cpu}, PID {held.pid}\n"
    width = max((len(name) for name in held.values), default=0)
    return head + "".join(f"  {name:>{width}}: {held.values[name]:016x}\n" for name in held.values)
