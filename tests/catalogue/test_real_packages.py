"""The shipped kernels: two builds of one release, and one of another architecture."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cas import elf
from cas.catalogue import Catalogue
from cas.catalogue.building.build import build
from cas.catalogue.extraction.extract import extract
from cas.database.store import Store
from cas.errors import AmbiguousKernel, KernelNotFound
from cas.model.kernel import KernelIdentity
from cas.progress import Silent
from cas.settings.rules import PackageRules

from installed import few_of

FIXTURES = Path(__file__).parents[1] / "kernels" / "fixtures"
FILTER = r".*kerne.+-debuginfo-[0-9].*\.rpm"
PACKAGES = {
    entry["file"].partition("/")[0]: entry
    for entry in json.loads((FIXTURES / "fixtures.json").read_text())
    if entry["kind"] == "debuginfo"
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    catalogue = Catalogue(Store(tmp_path_factory.mktemp("catalogue") / "cas.db"))
    summary = build(catalogue.store, FIXTURES, PackageRules(FILTER), Silent())
    assert summary.bad == ()
    return catalogue


def dump_of(part: str, *facts: str) -> KernelIdentity:
    """What a dump of a shipped kernel says, reduced to these facts."""
    entry = PACKAGES[part]
    told = {fact: entry[fact] for fact in ("osrelease", *facts)}
    return KernelIdentity(arch=entry["arch"], **told)


@pytest.mark.parametrize("part", ["a", "b", "arm64"])
@pytest.mark.parametrize("fact", ["build_id", "banner"])
def test_the_right_build_is_found(part: str, fact: str, shipped: Catalogue) -> None:
    match = shipped.find(dump_of(part, fact))
    assert match.kernel.source == FIXTURES / PACKAGES[part]["file"]
    assert match.evidence == fact.replace("_", "-")


def test_the_release_of_two_builds_is_a_tie(shipped: Catalogue) -> None:
    with pytest.raises(AmbiguousKernel) as caught:
        shipped.find(dump_of("a"))
    for part in ("a", "b"):
        assert PACKAGES[part]["build_id"] in str(caught.value)
        assert PACKAGES[part]["file"] in str(caught.value)


def test_a_third_build_is_not_found(shipped: Catalogue) -> None:
    stranger = replace(dump_of("a"), build_id="00" * 20)
    with pytest.raises(KernelNotFound) as caught:
        shipped.find(stranger)
    assert PACKAGES["a"]["build_id"] in str(caught.value)
    assert PACKAGES["b"]["build_id"] in str(caught.value)


@pytest.mark.parametrize("part", few_of(("a", "b", "arm64"), {"b"}))
def test_vmlinux_and_kmods_come_out_as_bsdtar_takes_them_out(
    part: str, shipped: Catalogue, tmp_path: Path
) -> None:
    match = shipped.find(dump_of(part, "build_id"))
    found = extract(match, ["cas_oops", "nf_cas_dummy", "absent"], tmp_path, Silent())
    assert elf.build_id(found.vmlinux) == PACKAGES[part]["build_id"]
    assert elf.linux_banner(found.vmlinux) == PACKAGES[part]["banner"]
    assert sorted(found.kmods) == ["cas_oops", "nf_cas_dummy"]
    paths = (found.vmlinux, *found.kmods.values())
    expected = tmp_path / "bsdtar"
    expected.mkdir()
    argv = ["bsdtar", "-xf", match.kernel.source, *(f"*/{path.name}" for path in paths)]
    subprocess.run(argv, cwd=expected, check=True)
    for path in paths:
        (other,) = expected.rglob(path.name)
        assert path.read_bytes() == other.read_bytes()
