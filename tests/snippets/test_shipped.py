"""The shipped snippets, run by real debuggers on the shipped dump."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.engines.crash.place import LocalPlace
from cas.engines.crash.session import Crash
from cas.engines.drgn.process import Worker
from cas.files.shipped import shipped
from cas.model.case import Case
from cas.model.dump import Dump
from cas.model.snippet import Snippet
from cas.snippets.snippets import Facts, load
from cas.supervise import Confinement

from installed import needs

ORIGINAL = {"log", "memory", "modules", "sys", "traceback"}
FILES = sorted(path for path in shipped("snippets/crash").iterdir() if path.name != "prelude")
NOT_IN_DRGN = {
    "memory": "drgn's kmem -f needs node_mem_map or vmemmap, which this small kernel lacks",
    "runqueues": "drgn's runq -m needs CONFIG_SCHED_INFO, which this small kernel lacks",
}
EXPECTED_FIRST = {"blocked", "disks", "files", "irqs", "mounts", "network", "ps", "runqueues"}


def snippets(room: Path, size_bytes: int = 1 << 20) -> dict[str, Snippet]:
    room.mkdir(exist_ok=True)
    facts = Facts(arch="x86_64", release="6.1.0", size_bytes=size_bytes)
    loaded = load([shipped("snippets/crash")], facts, Confinement(room))
    assert loaded.unusable == ()
    return {snippet.name: snippet for snippet in loaded.snippets}


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snippet]:
    return snippets(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def crash(indexed: Path, vmcore: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    directory = tmp_path_factory.mktemp("crash")
    (directory / "room").mkdir()
    room = Confinement(directory / "room")
    here = LocalPlace(Path(needs("crash")), indexed, vmcore, room)
    with (
        (directory / "crash.out").open("wb") as transcript,
        Crash(here, room.supervision, directory, transcript, print) as session,
    ):
        session.open()
        yield session


@pytest.fixture(scope="module")
def worker(
    vmlinux: Path, vmcore: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    dump = Dump(path=vmcore, format="ELF", size_bytes=vmcore.stat().st_size, arch="x86_64")
    with Worker(Confinement(tmp_path_factory.mktemp("drgn"))) as worker:
        worker.answer(Case(dump, vmlinux), 60)
        yield worker


def test_the_originals_topics_and_what_is_asked_for_first_are_there(
    chosen: dict[str, Snippet],
) -> None:
    assert chosen.keys() >= ORIGINAL | EXPECTED_FIRST


@pytest.mark.parametrize("name", NOT_IN_DRGN)
def test_drgn_says_what_it_cannot_show(
    worker: Worker, chosen: dict[str, Snippet], name: str, tmp_path: Path
) -> None:
    section = worker.run_snippet(chosen[name], tmp_path / name)
    assert section.status in {"ok", "failed"}
    assert (section.error is None) == (section.status == "ok")


def test_drgn_finds_the_task_that_waits_for_ever(
    worker: Worker, chosen: dict[str, Snippet], tmp_path: Path
) -> None:
    worker.run_snippet(chosen["blocked"], tmp_path / "blocked")
    assert "cas_stuck" in (tmp_path / "blocked").read_text()


def test_every_snippet_says_what_it_shows(chosen: dict[str, Snippet]) -> None:
    assert [name for name, snippet in chosen.items() if snippet.title == name] == []


def test_every_tasks_backtrace_is_taken_of_small_dumps_only(tmp_path: Path) -> None:
    assert "everytask" in snippets(tmp_path / "room")
    assert "everytask" not in snippets(tmp_path / "room", size_bytes=64 << 30)


@pytest.mark.parametrize("name", [path.name for path in FILES])
def test_crash_takes_every_command(
    crash: Crash, chosen: dict[str, Snippet], name: str, tmp_path: Path
) -> None:
    section = crash.run_snippet(chosen[name], tmp_path / name)
    assert (section.status, section.error) == ("ok", None)


@pytest.mark.parametrize("name", [path.name for path in FILES if path.name not in NOT_IN_DRGN])
def test_drgn_takes_every_command(
    worker: Worker, chosen: dict[str, Snippet], name: str, tmp_path: Path
) -> None:
    section = worker.run_snippet(chosen[name], tmp_path / name)
    assert (section.status, section.error) == ("ok", None)
    assert section.size_bytes > 0
