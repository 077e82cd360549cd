"""``result.json``: the record that a job is finished, and what it found out.

It is written last, whole or not at all: what is not in it was not finished. Values are exact;
whoever prints them makes them printable (:func:`cas.text.printable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cas.errors import JobFailed
from cas.files.permission import DENIED, not_permitted
from cas.files.record import VERSION, Unreadable, decode
from cas.files.whole import read_regular
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump
from cas.model.fault import Fault
from cas.model.report import Report
from cas.model.snippet import Section
from cas.report.registers import register_facts
from cas.report.result_record import Result
from cas.report.summary import summary
from cas.text import json_text

NAME = "result.json"
SIZE_LIMIT = 64 << 20
TEXT_LIMIT = 64 << 10
"""Characters of a reason, an error or a panic message."""


def result_text(report: Report) -> bytes:
    """The content of ``result.json``."""
    return json_text(as_result(report), indent=2, default=_encode_value).encode("ascii") + b"\n"


def as_result(report: Report) -> dict[str, Any]:
    """A report as the keys and values of ``result.json``."""
    stored, dump, finding = report.stored, report.dump, report.finding
    missing = (*(stored.missing if stored else ()), *(dump.missing if dump else ()))
    remarks = (
        *(stored.remarks if stored else ()),
        *(dump.remarks if dump else ()),
        *report.remarks,
    )
    similar = finding.seen.tickets if finding and finding.seen else ()
    return {
        "version": VERSION,
        "ticket": report.ticket,
        "directory": report.directory,
        "upload": report.upload,
        "server": report.server,
        "started": report.started,
        "seconds": dict(report.seconds),
        "verdict": report.verdict,
        "stage": report.stage,
        "reason": _bounded_text(report.reason),
        "hint": report.hint,
        "offset": report.offset,
        "rivals": report.rivals,
        "limits_hit": report.limits_hit,
        "engine": report.engine,
        "host": report.host,
        "ladder": report.ladder,
        "sandbox": report.sandbox,
        "recovered": report.recovered,
        "customer_note": report.customer_note,
        "by_ranges": report.by_ranges and asdict(report.by_ranges),
        "kernel": _kernel_facts(report),
        "evidence": report.match.evidence if report.match else None,
        "evidence_detail": report.match.detail if report.match else None,
        "dump": _dump_facts(dump) if dump else None,
        "missing": [asdict(lack) for lack in missing],
        "remarks": remarks,
        "reference": asdict(stored.reference) if stored and stored.reference else None,
        "parts": [path.name for path in stored.parts] if stored else [],
        "sidecars": [path.name for path in stored.sidecars] if stored else [],
        "registers": register_facts(dump) if dump else [],
        "answer": _answer_facts(report.answer) if report.answer else None,
        "finding": (
            {**asdict(finding), "kind": finding.kind or "", "similar": similar} if finding else None
        ),
        "signature": finding.signature if finding else None,
        "similar": similar,
        "detections": [asdict(detection) for detection in report.detections],
        "fault": _fault_facts(report.fault) if report.fault else None,
        "sections": [_section_facts(section) for section in report.sections],
        "glide": _section_facts(report.glide) if report.glide else None,
        "summary": asdict(summary(report)),
        "mail": None,
    }


def load(path: Path) -> Result:
    """Read a ``result.json`` back.

    :param path: the file, or the job directory that holds it
    :raises NotPermitted: it is somebody else's
    :raises JobFailed: the job was not finished, or the file is damaged or of a later version
    """
    file = path / NAME if path.is_dir() else path
    try:
        return decode(read_regular(file, SIZE_LIMIT), Result)
    except FileNotFoundError as error:
        raise JobFailed(f"there is no {file}: the job was not finished") from error
    except OSError as error:
        if error.errno in DENIED:
            raise not_permitted(file, error, "read") from error
        raise JobFailed(f"cannot read {file}: {error.strerror}") from error
    except Unreadable as error:
        raise JobFailed(f"{file} is damaged: {error}") from error


def crash_id_of(directory: Path) -> str | None:
    """The id of the crash that a job found out; ``None``: its dump tells none.

    :raises JobFailed: there is no readable ``result.json``
    """
    dump = load(directory).dump
    return dump.crash_id if dump else None


def _kernel_facts(report: Report) -> dict[str, Any] | None:
    """The kernel of the match, or what the dump alone says."""
    dump, kernel = report.dump, report.match.kernel if report.match else None
    if dump is None and kernel is None:
        return None
    return {
        "release": kernel.release if kernel else dump and dump.osrelease,
        "arch": kernel.arch if kernel else dump and dump.arch,
        "build_id": (kernel and kernel.build_id) or (dump and dump.build_id),
        "banner": (kernel and kernel.banner) or (dump and dump.banner),
        "package": kernel.source if kernel and kernel.member else None,
        "member": kernel.member if kernel else None,
        "vmlinux": report.vmlinux,
    }


def _dump_facts(dump: Dump) -> dict[str, Any]:
    # The log is a section of its own, VMCOREINFO stands in the dump, registers at the top.
    facts = asdict(replace(dump, dmesg=None, vmcoreinfo={}, registers=()))
    for large in ("dmesg", "vmcoreinfo", "registers"):
        del facts[large]
    facts["panic_message"] = _bounded_text(dump.panic_message)
    return {**facts, "is_whole": dump.is_whole}


def _answer_facts(answer: FirstAnswer) -> dict[str, Any]:
    facts = asdict(answer)
    del facts["dmesg"]
    facts["panic_message"] = _bounded_text(answer.panic_message)
    return facts


def _fault_facts(fault: Fault) -> dict[str, Any]:
    code = [{**asdict(each), "address": _hex(each.address)} for each in fault.code]
    registers = {name: hex(value) for name, value in fault.registers.items()}
    facts = asdict(replace(fault, code=(), registers={}))
    return {**facts, "address": _hex(fault.address), "registers": registers, "code": code}


def _hex(value: int | None) -> str | None:
    return None if value is None else hex(value)


def _section_facts(section: Section) -> dict[str, Any]:
    commands = [{**asdict(each), "error": _bounded_text(each.error)} for each in section.commands]
    error = _bounded_text(section.error)
    return {**asdict(section), "path": section.path.name, "error": error, "commands": commands}


def _bounded_text(text: str | None) -> str | None:
    """A line of a debugger's output, or of a kernel log, may be as long as all of it."""
    return text if text is None or len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}…"


def _encode_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in {NAME}")
