"""The JSON schemas that are shipped, from the classes that decode the records.

To write them anew: ``python tests/write_schemas.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cas.archive import noting
from cas.commands import answers as identify
from cas.commands import archive_answers as archive
from cas.export import record as export
from cas.files import record
from cas.jobs import job_record
from cas.report import result_record
from cas_admin import answers as admin

SCHEMAS = Path(__file__).parents[1] / "schemas"
KINDS: dict[str, type[record.Whole]] = {
    "job.json": job_record.Job,
    "result.json": result_record.Result,
}


ANSWERS: dict[str, type[record.Record]] = {
    "cas identify --json": identify.Identified,
    "cas object --json": identify.CrashObject,
    "cas info": archive.CrashInfo,
    "cas jobs --json": archive.Jobs,
    "cas similar --json": archive.AlikeCrashes,
    "cas groups --json": archive.Groups,
    "cas analyzers --json": archive.Analyzers,
    "export.json": export.Export,
    "note.json": noting.Note,
    "cas-admin skiplist --json": admin.Skiplist,
    "cas-admin kernels --json": admin.Kernels,
    "cas-admin host list --json": admin.Hosts,
    "cas-admin sweep --json": admin.Sweeps,
    "cas-admin check --json": admin.Check,
    "cas-admin purge --json": admin.Purge,
}
STATUS = "cas-admin status --json"
LS = "cas ls --json"
GLIDE = "cas glide --json"
NAMES = {
    "cas identify --json": "identify.json",
    "cas object --json": "object.json",
    "cas info": "info.json",
    LS: "ls.json",
    "cas jobs --json": "jobs.json",
    "cas similar --json": "similar.json",
    "cas groups --json": "groups.json",
    "cas analyzers --json": "analyzers.json",
    "export.json": "export.json",
    "note.json": "note.json",
    "cas-admin skiplist --json": "skiplist.json",
    "cas-admin kernels --json": "kernels.json",
    "cas-admin host list --json": "hosts.json",
    "cas-admin sweep --json": "sweep.json",
    "cas-admin check --json": "check.json",
    "cas-admin purge --json": "purge.json",
    STATUS: "status.json",
    GLIDE: "glide.json",
}
"""What the files of the answers' schemas are called."""


def text_of(name: str) -> str:
    """The schema of a record or an answer, as its file has it."""
    if name == STATUS:
        schema = record.schema_of_parts(admin.STATUS, admin.Problem, name)
    elif name == GLIDE:
        schema = record.schema_of_lines(identify.GLIDE, name)
    elif name == LS:
        schema = record.schema_of_array(archive.ListedCrash, name)
    else:
        schema = record.schema({**KINDS, **ANSWERS}[name], name)
    return json.dumps(schema, indent=1) + "\n"


def path_of(name: str) -> Path:
    return SCHEMAS / NAMES.get(name, name).replace(".json", ".schema.json")


def closed(schema: Any) -> Any:
    """The schema with every object as it is told, and no other key."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: closed(value) for key, value in schema.items()}
    return {**strict, "additionalProperties": False} if "properties" in schema else strict


if __name__ == "__main__":
    for each in (*KINDS, *NAMES):
        path_of(each).write_text(text_of(each))
