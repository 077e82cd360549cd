"""Packages that rpmbuild made, once for all tests."""

from collections.abc import Callable
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue import Catalogue
from cas.catalogue.building import build as building
from cas.database.store import Store
from cas.model.kernel import KernelIdentity
from cas.progress import Silent
from cas.settings.rules import PackageRules

from installed import needs


@pytest.fixture(autouse=True, scope="session")
def programs() -> None:
    """What makes and unpacks the packages."""
    for program in ("rpmbuild", "bsdtar", "zstd", "find"):
        needs(program)


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """The directory that the catalogue is built from."""
    directory = tmp_path / "kernels"
    directory.mkdir()
    return directory


@pytest.fixture
def catalogue(store: Store) -> Catalogue:
    return Catalogue(store)


@pytest.fixture
def built(catalogue: Catalogue, kernels: Path) -> Callable[..., Catalogue]:
    """``built(recipe, …)``: a catalogue of these packages, each in a directory of its own."""

    def build(*recipes: kp.Recipe) -> Catalogue:
        for number, recipe in enumerate(recipes):
            kp.build(recipe, kernels / str(number))
        building.build(catalogue.store, kernels, PackageRules(kp.FILTER), Silent())
        return catalogue

    return build


@pytest.fixture
def dump() -> Callable[..., KernelIdentity]:
    """``dump(build_id=…)``: what the dump of a small kernel says."""

    def make(**facts: str | None) -> KernelIdentity:
        words = {"arch": "x86_64", "osrelease": kp.RELEASE} | facts
        return KernelIdentity(**words)

    return make
