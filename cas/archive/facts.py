"""What the archive remembers of a job's report, by the names under which it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cas.database.records import JobRecord
from cas.model.code import Frame
from cas.model.finding import Signature
from cas.model.report import Report

PROPERTIES: Mapping[str, str] = {
    "id": "the crash's id, 32 hex digits",
    "type": "`crash`, or `note` where there never was a file",
    "time": "when it crashed, in seconds since 1970; when it was added where that is not known",
    "added": "when its first file came, in seconds since 1970",
    "weak": "whether another crash may have the same id",
    "node": "name of the machine",
    "ticket": "its tickets, with commas between",
    "tickets": "its tickets, each",
    "set_tickets": "those that somebody has set: they keep its files",
    "jobs": "its jobs, as TICKET/STAMP",
    "swept": "where sweeps have seen files of it, with host, path, size, modified, uid and gid",
    "hold": "who holds it, and why; it is not purged then",
    "presence": "where its best file is: here, truncated, elsewhere, missing, purged or noted",
    "dump": "path of its best file, or the URL",
    "files": "its files, with name, digest, size_bytes, format, dump_level, is_whole and lacks",
    "format": "of its best file: ELF, KDUMP, kernel log, …",
    "size": "of its best file, in bytes",
    "dump_level": "makedumpfile's -d value of its best file",
    "whole": "whether nothing of its best file is known to be missing",
    "vendor": "who made the machine",
    "model": "the machine's vendor, product and board, as its firmware has them",
    "bios": "version of its firmware",
    "release": "of the kernel, as uname -r has it",
    "arch": "of the kernel, as uname -m has it",
    "build_id": "of the kernel",
    "panic": "the line of the kernel log that announces the crash",
    "title": "what the crash is called",
    "kind": "what kind of crash it is",
    "culprit": "the function at fault",
    "culprit_module": "the kernel module of the function at fault",
    "signatures": "its signatures, as signatures.title, .top_3, .top_5 and .full",
    "confidence": "how sure the verdict is: high, medium or low",
    "task": "name of the task that crashed",
    "uptime": "of the kernel, in seconds",
    "cpus": "that were online",
    "memory": "of the machine, in bytes",
    "taint": "the kernel's taint letters",
    "modules": "the loaded kernel modules",
    "stack": "the stack that the verdict is about, innermost first: function+offset [module]",
    "engine": "what ran the snippets",
    "verdict": "of its newest job: complete, partial, waiting or failed",
    "cmd": "of a program's core: its name",
    "properties": "what people and analyzers have set, as properties.NAME",
}
"""Every property that a crash may have by itself, and what it is; cas(1) has the same table."""

_VENDORS = (
    *("Dell Inc.", "HPE", "HP", "Hewlett-Packard", "LENOVO", "Lenovo", "IBM", "Supermicro"),
    *("Cisco Systems Inc", "FUJITSU", "Fujitsu", "Huawei", "Inspur", "Intel Corporation", "Intel"),
    *("AMD Corporation", "AMD", "ASUSTeK COMPUTER INC.", "ASUS", "Gigabyte Technology Co., Ltd."),
    *("GIGABYTE", "Quanta Cloud Technology Inc.", "Quanta Computer Inc", "Ampere(R)", "NVIDIA"),
    *("QEMU", "Red Hat", "oVirt", "RDO", "OpenStack Foundation", "KVM", "Xen", "Bochs"),
    *("VMware, Inc.", "Microsoft Corporation", "innotek GmbH", "Amazon EC2", "Google", "Nutanix"),
    *("Alibaba Cloud", "Tencent Cloud", "Oracle Corporation", "OpenStack", "DigitalOcean"),
)
"""How the model of a machine begins whose vendor is known: the kernel prints vendor, product
and board with blanks between, dmi_format_ids() in drivers/firmware/dmi_scan.c, and each may have
some."""


def facts_of(report: Report) -> dict[str, Any]:
    """What is remembered of a report; what it does not know is left out."""
    dump, answer, finding = report.dump, report.answer, report.finding
    job = JobRecord.of(report, None)
    facts: dict[str, Any] = {
        "node": job.nodename,
        "release": job.osrelease,
        "build_id": job.build_id,
        "panic": job.panic_message or (answer.panic_message if answer else None),
        "model": job.model,
        "vendor": vendor_of(job.model),
        "bios": job.bios,
        "verdict": report.verdict,
        "engine": report.engine,
        "arch": dump.arch if dump else None,
    }
    if answer:
        task = answer.panic_task
        facts |= {
            "task": task.comm if task else None,
            "uptime": answer.uptime_s,
            "cpus": answer.cpus_online,
            "memory": answer.memory_bytes,
            "taint": answer.taint,
            "modules": [each.name for each in answer.kmods] if answer.knows_kmods else None,
        }
    if finding:
        culprit = finding.culprit.frames[-1] if finding.culprit else None
        facts |= {
            "title": finding.title or None,
            "kind": finding.kind,
            "culprit": culprit.function if culprit else None,
            "culprit_module": culprit.kmod if culprit else None,
            "signatures": _signatures(finding.signatures) or None,
            "confidence": finding.choice.level if finding.choice else None,
            "stack": _stack(finding.trace or (answer.backtrace if answer else ())) or None,
        }
    return {name: value for name, value in facts.items() if value is not None}


def vendor_of(model: str | None) -> str | None:
    """Who made a machine, where its model begins with a name that is known.

    >>> vendor_of("Dell Inc. PowerEdge R640/0W23H8")
    'Dell Inc.'
    """
    known = (each for each in _VENDORS if model and model.startswith(f"{each} "))
    return max(known, key=len, default=None)


def _signatures(found: Sequence[Signature]) -> dict[str, str]:
    newest = max((each.version for each in found), default=0)
    return {
        each.granularity.replace(" ", "_"): each.value for each in found if each.version == newest
    }


def _stack(frames: Sequence[Frame]) -> list[str]:
    return [
        frame.function
        + (f"+{frame.offset:#x}" if frame.offset is not None else "")
        + (f" [{frame.kmod}]" if frame.kmod else "")
        for frame in frames
    ]
