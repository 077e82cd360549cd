"""What is to be said of each dump, and how a result differs from it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "fixtures"
Facts = Mapping[str, Any]


def read_causes() -> tuple[dict[str, Facts], dict[str, str]]:
    """All causes by name, and the sets of the kernel's parameters."""
    causes: dict[str, Any] = tomllib.loads((HERE / "causes.toml").read_text())
    sets = causes.pop("boot")
    return causes, sets


def title_of(result: Facts) -> str:
    return str((result.get("finding") or {}).get("title"))


def evidence_of(result: Facts) -> list[Facts]:
    """Of the fault itself and of the detectors."""
    found = [result["fault"] or {}, *result["detections"]]
    return [each for part in found for each in part.get("evidence", ())]


def differences(expected: Facts, result: Facts) -> Iterator[str]:
    """What is wrong or missing in a result.json, a sentence each."""
    if result["verdict"] != expected.get("verdict", "complete"):
        yield f"{result['verdict']}: {result['reason']}"
    if title_of(result) not in expected["titles"]:
        yield f"title: {title_of(result)!r}, not one of {expected['titles']}"
    said = evidence_of(result)
    patterns = expected.get("evidence", ())
    for pattern in patterns:
        if not any(re.search(pattern, each["sentence"]) for each in said):
            yield f"no evidence: {pattern}"
    for each in said:
        is_expected = any(re.search(pattern, each["sentence"]) for pattern in patterns)
        if each["weight"] == "cause" and not is_expected:
            yield f"not expected: {each['sentence']}"
    if expected.get("explained", True) and not any(each["weight"] == "cause" for each in said):
        yield "nothing explains the crash"
    for found in result["detections"]:
        if found["status"] in ("failed", "timeout"):
            yield f"{found['detector']}: {found['status']}: {found['remark']}"
