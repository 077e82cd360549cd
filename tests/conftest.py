"""Real parts for the tests: the installed commands, the shipped kernels and their dumps."""

from __future__ import annotations

import gc
import lzma
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock

from cas.database.store import Store

from installed import ABSENT, FIXTURES, Site, needs

for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    # a shell has its background jobs ignore them, and so would every program that tests start
    if signal.getsignal(number) == signal.SIG_IGN:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)

gc.disable()  # until all tests are known: searching them for garbage takes a fifth of that time


def pytest_collection_finish() -> None:
    """Leave the tests themselves out of every later search for garbage."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start first what would else be waited for in the end.

    Each worker begins with an equal part of the tests, and so with its share of such ones.
    """
    early = [item for item in items if item.get_closest_marker("early")]
    rest = [item for item in items if not item.get_closest_marker("early")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items.clear()
    for number in range(workers):
        begin, end = (len(rest) * each // workers for each in (number, number + 1))
        items += early[number::workers] + rest[begin:end]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out, and why: a line for each reason, not for each test."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    absent = {
        reason.partition(ABSENT)[0]: reasons.pop(reason)
        for reason in [*reasons]
        if ABSENT in reason
    }
    lines = [f"{number} tests: {reason}" for reason, number in reasons.most_common()]
    if absent:
        each = ", ".join(f"{name} ({absent[name]})" for name in sorted(absent))
        lines.insert(0, f"{sum(absent.values())} tests: {each}{ABSENT}")
    if lines:
        terminalreporter.section("left out")
        terminalreporter.write_line("\n".join(lines))


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
            "deepTrace": "No",
        },
    )


@pytest.fixture
def site_a(site: Site, catalogued: Callable[[Site, str], Site]) -> Site:
    """A site whose catalogue knows the shipped kernel."""
    return catalogued(site, "a")


@pytest.fixture
def site_b(site: Site, catalogued: Callable[[Site, str], Site]) -> Site:
    """A site whose catalogue knows the kernel of `vmcore_b`."""
    return catalogued(site, "b")


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
def catalogued(
    made: Callable[[str, Callable[[Path], object]], Path],
) -> Callable[[Site, str], Site]:
    """Let a site know shipped kernels: ``catalogued(site, "b")``, of all of them ``"."``.

    It gets a copy of the catalogue that ``cas-admin -b`` has made of them.
    """

    def know(site: Site, part: str) -> Site:
        site.settings["kernels"] = str(FIXTURES / part)

        def build(path: Path) -> None:
            with TemporaryDirectory() as place:
                builder = Site(
                    Path(place),
                    {
                        "kernels": site.settings["kernels"],
                        "workDirectory": f"{place}/cores",
                        "debugs": f"{place}/debugs",
                        "database": str(path),
                    },
                )
                done = builder.admin("-b")
                assert done.returncode == 0, done.stderr

        shutil.copyfile(made(f"catalogue-{part}.db", build), site.settings["database"])
        return site

    return know


@pytest.fixture(scope="session")
def vmcore(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The shipped x86_64 dump, unpacked: an ELF file that makedumpfile wrote with -E -d 31."""
    packed = FIXTURES / "a" / "vmcore.elf.xz"
    return made("vmcore.elf", lambda path: path.write_bytes(lzma.decompress(packed.read_bytes())))


@pytest.fixture(scope="session")
def vmcore_b() -> Path:
    """A smaller dump, of a smaller kernel: a job on it takes two thirds of the time."""
    return FIXTURES / "b" / "vmcore.kdump"


@pytest.fixture(scope="session")
def vmlinux(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The vmlinux of the shipped x86_64 dump."""
    return made("vmlinux", lambda path: unpack_vmlinux("a", path))


@pytest.fixture(scope="session")
def indexed(vmlinux: Path, made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The same with gdb's index of its debug information, as some distributions add it.

    crash opens it in a third of the time.
    """
    program = shutil.which("gdb-add-index")

    def index(path: Path) -> None:
        shutil.copy(vmlinux, path)
        subprocess.run([str(program), path], check=True, stdin=subprocess.DEVNULL)

    return made("vmlinux-indexed", index) if program else vmlinux


@pytest.fixture(scope="session")
def vmlinux_b(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The vmlinux of the other build of the same release."""
    return made("vmlinux-b", lambda path: unpack_vmlinux("b", path))


def unpack_vmlinux(part: str, path: Path) -> None:
    (package,) = (FIXTURES / part).glob("*.rpm")
    with path.open("wb") as file:
        argv = [needs("bsdtar"), "-xOf", package, "*/vmlinux"]
        subprocess.run(argv, stdout=file, check=True)


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


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL database, for whoever needs one."""
    from postgresql import postgresql

    with postgresql() as url:
        Store(url).open()
        yield url


@pytest.fixture(params=["sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: a path, or with `on_both` a server's URL too."""
    if request.param == "sqlite":
        return str(tmp_path / "cas.db")
    from postgresql import empty

    url: str = request.getfixturevalue("postgresql_url")
    empty(url)
    return url


@pytest.fixture
def store(database: str) -> Store:
    """The rows of that database."""
    return Store(database, timeout_s=0.2)
