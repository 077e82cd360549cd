"""The JSON schemas that are shipped, from the classes that decode the records.

To write them anew: ``python tests/core/write_schemas.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

from cas import job_record, record
from cas.report import result_record

SCHEMAS = Path(__file__).parents[2] / "schemas"
KINDS: dict[str, type[record.Whole]] = {
    "job.json": job_record.Job,
    "result.json": result_record.Result,
}


def text_of(name: str) -> str:
    """The schema of a record, as its file has it."""
    return json.dumps(record.schema(KINDS[name], name), indent=1) + "\n"


def path_of(name: str) -> Path:
    return SCHEMAS / name.replace(".json", ".schema.json")


if __name__ == "__main__":
    for each in KINDS:
        path_of(each).write_text(text_of(each))
