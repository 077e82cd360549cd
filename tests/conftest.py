"""Real parts for the tests: the installed commands, the shipped kernels and their dumps."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

FIXTURES = Path(__file__).parent / "kernels" / "fixtures"
COMMANDS = Path(sys.executable).parent


def needs(program: str) -> str:
    """The path of a program; in CI its absence is a failure, elsewhere the test is left out."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        message = f"{program} is not installed (see tests/system-packages)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return str(found)


@dataclass
class Site:
    """An installation of its own below a temporary directory: configuration, catalogue, jobs."""

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> Path:
        return self.directory / "cores"

    def run(self, program: str, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        self.configure()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "CAS_CONF": str(self.directory / "cas.conf"),
            **self.environment,
        }
        options = {"stdin": subprocess.DEVNULL, "cwd": self.directory, "timeout": 300, **how}
        return subprocess.run(
            [COMMANDS / program, *words],
            env=environment,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            **options,
        )

    def cas(self, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run("cas", *words, **how)

    def admin(self, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run("cas-admin", *words, **how)

    def configure(self) -> None:
        lines = [f"{key} = {value}" for key, value in self.settings.items()]
        (self.directory / "cas.conf").write_text("\n".join(("[settings]", *lines, "")))

    def job(self, ticket: str) -> Path:
        """The directory of the ticket's only job."""
        (directory,) = (self.jobs / ticket).iterdir()
        return directory

    def result(self, ticket: str) -> Mapping[str, Any]:
        result: Mapping[str, Any] = json.loads((self.job(ticket) / "result.json").read_text())
        return result


@pytest.fixture
def site(tmp_path: Path, shared: Path) -> Site:
    """A site without packages; the cache of extracted kernels is shared between tests."""
    (tmp_path / "kernels").mkdir()
    return Site(
        tmp_path,
        {
            "kernels": str(tmp_path / "kernels"),
            "workDirectory": str(tmp_path / "cores"),
            "debugs": str(shared / "debugs"),
            "database": str(tmp_path / "cas.db"),
        },
    )


@pytest.fixture
def site_a(site: Site) -> Site:
    """A site whose catalogue knows the shipped kernel."""
    site.settings["kernels"] = str(FIXTURES / "a")
    done = site.admin("-b")
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this test run share."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def made(shared: Path) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a file once for all workers: ``made(name, make)`` calls ``make(path)`` if need be."""

    def make_once(name: str, make: Callable[[Path], object]) -> Path:
        path = shared / name
        with FileLock(shared / f".{name}.lock"):
            if not path.exists():
                part = shared / f".{name}.part"
                make(part)
                part.rename(path)
        return path

    return make_once


@pytest.fixture(scope="session")
def vmcore(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The shipped x86_64 dump, unpacked: an ELF file that makedumpfile wrote with -E -d 31."""
    packed = FIXTURES / "a" / "vmcore.elf.xz"
    return made("vmcore.elf", lambda path: path.write_bytes(lzma.decompress(packed.read_bytes())))


@pytest.fixture(scope="session")
def vmlinux(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The vmlinux of the shipped x86_64 dump."""
    (package,) = (FIXTURES / "a").glob("*.rpm")

    def unpack(path: Path) -> None:
        with path.open("wb") as file:
            argv = [needs("bsdtar"), "-xOf", package, "*/vmlinux"]
            subprocess.run(argv, stdout=file, check=True)

    return made("vmlinux", unpack)


@pytest.fixture(scope="session")
def converted(
    vmcore: Path, made: Callable[[str, Callable[[Path], object]], Path]
) -> Callable[..., Path]:
    """The shipped dump in another of makedumpfile's formats, e.g. ``converted("-c")``."""

    def convert(*options: str) -> Path:
        makedumpfile = needs("makedumpfile")
        name = "vmcore" + "".join(options)

        def write(path: Path) -> None:
            subprocess.run([makedumpfile, *options, vmcore, path], check=True, capture_output=True)

        return made(name, write)

    return convert


@pytest.fixture
def without_crash(site: Site, tmp_path: Path) -> Iterator[None]:
    """No crash on PATH, as on a fresh machine."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    site.environment["PATH"] = str(bin_directory)
    yield
