"""A kept job's crash, judged anew from result.json and its kernel log, without a debugger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cas.choices import Kind, SectionStatus
from cas.errors import JobFailed
from cas.files.whole import read_regular
from cas.jobs.job import Job
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump, Registers
from cas.model.evidence import Detection
from cas.model.fault import Fault
from cas.model.finding import Finding
from cas.model.kernel import Kernel, Match
from cas.model.report import ByRanges, Report
from cas.model.snippet import Section
from cas.report.result import load
from cas.report.result_record import Fault as FaultRecord
from cas.report.result_record import Finding as FindingRecord
from cas.report.result_record import Result

LOG_SECTIONS = ("log", "dmesg")
"""Snippets whose output is the kernel log."""
LOG_LIMIT = 64 << 20

AnyFacts = TypeVar("AnyFacts")


def evidence(directory: Path) -> tuple[Dump, FirstAnswer | None]:
    """What the verdict of a finished job rests on: what the dump says, and the debugger.

    :param directory: of the job
    :raises JobFailed: the job was not finished, or nothing of a dump was read
    """
    result = load(directory)
    dmesg = kernel_log(result, directory)
    dump = _dump(result, dmesg)
    if dump is None:
        raise JobFailed(f"{directory} has no dump: there is no crash to name")
    return dump, _answer(result, dmesg)


def revived(result: Result, job: Job) -> Report:
    """The report of an ended job as it was when it was written, with the kernel log that was kept.

    What result.json bounds stays bounded; of a matched kernel only that is known which it names.

    :raises JobFailed: a file of the job cannot be read
    """
    dmesg = kernel_log(result, job.directory)
    stored, dump = job.stored, _dump(result, dmesg)
    told = (*(stored.remarks if stored else ()), *(dump.remarks if dump else ()))
    remarks = result.remarks  # before those of the report it has those of upload and dump
    if remarks[: len(told)] == told:
        remarks = remarks[len(told) :]
    sections = (value_of_record(section, Section) for section in result.sections)
    traced = value_of_record(result.glide, Section) if result.glide else None
    match, kernel = None, result.kernel
    if kernel is not None and result.evidence is not None:
        known = Kernel(
            release=kernel.release or "",
            arch=kernel.arch or "",
            source=Path(kernel.package or kernel.vmlinux or ""),
            member=kernel.member,
            build_id=kernel.build_id,
            banner=kernel.banner,
        )
        match = Match(known, result.evidence, result.evidence_detail or "")
    return Report(
        ticket=result.ticket,
        directory=job.directory,
        upload=result.upload,
        server=result.server,
        started=job.started,
        verdict=result.verdict,
        stage=result.stage,
        reason=result.reason,
        hint=result.hint,
        offset=result.offset,
        rivals=result.rivals,
        engine=result.engine,
        host=result.host,
        remarks=remarks,
        ladder=result.ladder,
        sandbox=result.sandbox,
        limits_hit=result.limits_hit,
        recovered=result.recovered,
        customer_note=result.customer_note,
        by_ranges=value_of_record(result.by_ranges, ByRanges) if result.by_ranges else None,
        stored=stored,
        dump=dump,
        match=match,
        vmlinux=Path(kernel.vmlinux) if kernel and kernel.vmlinux else None,
        answer=_answer(result, dmesg),
        finding=value_of_record(result.finding, Finding) if result.finding else None,
        detections=tuple(value_of_record(each, Detection) for each in result.detections),
        fault=_fault(result.fault) if result.fault else None,
        sections=tuple(replace(each, path=job.directory / each.path) for each in sections),
        glide=replace(traced, path=job.directory / traced.path) if traced else None,
        seconds=result.seconds,
    )


def log_section(result: Result) -> str | None:
    """The file that has the whole kernel log of a job; ``None``: none does."""
    return next(
        (
            section.path
            for section in result.sections
            if section.name in LOG_SECTIONS
            and section.size_bytes
            and section.status is SectionStatus.OK
        ),
        None,
    )


def kernel_log(result: Result, directory: Path) -> str | None:
    """The kernel log that was kept of a job.

    :raises JobFailed: it cannot be read
    """
    name = log_section(result)
    if name is None:
        return None
    try:
        return read_regular(directory / name, LOG_LIMIT).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise JobFailed(f"cannot read {directory / name}: {error.strerror}") from error


def value_of_record(record: msgspec.Struct, kind: type[AnyFacts]) -> AnyFacts:
    """A part of a record as the value that it was made of: the names are the same."""
    facts = msgspec.to_builtins(record)
    if isinstance(record, FindingRecord) and record.kind not in set(Kind):
        del facts["kind"]  # a record of before has none
    return msgspec.convert(facts, kind, dec_hook=_path)


def _path(kind: type, value: object) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"no record has {kind}")


def _dump(result: Result, dmesg: str | None) -> Dump | None:
    if result.dump is None:
        return None
    registers = tuple(
        Registers(held.cpu, held.pid, {name: _number(text) for name, text in held.values.items()})
        for held in result.registers
    )
    return replace(value_of_record(result.dump, Dump), dmesg=dmesg, registers=registers)


def _number(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise JobFailed(f"result.json is damaged: a number is {text!a}") from error


def _fault(held: FaultRecord) -> Fault:
    facts = msgspec.to_builtins(held)
    facts["registers"] = {name: _number(text) for name, text in held.registers.items()}
    for part in (facts, *facts["code"]):
        part["address"] = _number(part["address"]) if part["address"] else None
    return msgspec.convert(facts, Fault)


def _answer(result: Result, dmesg: str | None) -> FirstAnswer | None:
    if result.answer is None:
        return None
    return replace(value_of_record(result.answer, FirstAnswer), dmesg=dmesg)
