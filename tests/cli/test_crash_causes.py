"""Dumps of the module that crashes in many ways: the verdict, and what explains the crash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kernels.crashes.expected import FIXTURES as CRASHES
from kernels.crashes.expected import differences, evidence_of, read_causes

from installed import FIXTURES, Site, few_of

CAUSES, _ = read_causes()
SHIPPED = [name for name, cause in CAUSES.items() if cause.get("shipped")]


@pytest.fixture(scope="module")
def crash_site(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Site:
    """A site that knows the shipped kernel, and has its crashing kmod in a package of its own."""
    place = tmp_path_factory.mktemp("crashes")
    site = Site(
        place,
        {
            "kernels": str(place / "kernels"),
            "workDirectory": str(place / "cores"),
            "debugs": str(shared / "debugs"),
            "database": str(place / "cas.db"),
            "engine": "drgn",
        },
    )
    (place / "kernels").mkdir()
    for package in (*FIXTURES.glob("a/*.rpm"), *CRASHES.glob("*.rpm")):
        (place / "kernels" / package.name).symlink_to(package)
    site.keep_snippets("bt")
    assert site.admin("-b").returncode == 0
    return site


def analysed(site: Site, name: str) -> Mapping[str, Any]:
    """The result of a dump's job, which is run once."""
    if not site.job_directories(name):
        done = site.cas("-i", name, "-f", CRASHES / f"{name}.kdump.xz")
        (site.directory / name).write_text(done.stderr)
    return site.result(name)


def test_every_dump_that_is_said_to_be_shipped_is() -> None:
    assert sorted(path.name for path in CRASHES.glob("*.xz")) == sorted(
        f"{name}.kdump.xz" for name in SHIPPED
    )


@pytest.mark.parametrize("name", few_of(SHIPPED, {"mutex-abba"}))
def test_the_verdict_names_the_culprit_and_the_evidence_the_cause(
    crash_site: Site, name: str
) -> None:
    result = analysed(crash_site, name)
    assert [*differences(CAUSES[name], result)] == []
    said = (crash_site.directory / name).read_text()
    for each in evidence_of(result):
        assert each["weight"] != "cause" or each["sentence"] in said


def test_a_sentence_of_another_cause_is_a_difference(crash_site: Site) -> None:
    result = analysed(crash_site, "mutex-abba")
    said = [*differences(CAUSES["rwsem-abba"], result)]
    assert [each.partition(":")[0] for each in said] == ["title", "no evidence", "not expected"]


def test_a_crash_that_nothing_explains_is_a_difference(crash_site: Site) -> None:
    result = analysed(crash_site, "mutex-abba")
    for each in evidence_of(result):
        each["weight"] = "context"
    assert [*differences(CAUSES["mutex-abba"], result)] == ["nothing explains the crash"]
    assert [*differences({**CAUSES["mutex-abba"], "explained": False}, result)] == []
