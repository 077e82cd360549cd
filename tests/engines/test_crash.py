"""The crash engine on a real dump: limits for each command, and a session that survives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cas.engines.crash.place import LocalPlace
from cas.engines.crash.session import Crash
from cas.errors import EngineError
from cas.model.snippet import Section, Snippet
from cas.supervise import Confinement
from cas.units import human_size

from installed import needs

SECTION_BYTES = 1 << 20


def start(place: LocalPlace, directory: Path) -> Crash:
    rules = place.confinement.supervision
    return Crash(place, rules, directory, (directory / "crash.out").open("wb"), print)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared session leaves its transcript and its traces."""
    return tmp_path_factory.mktemp("crash")


@pytest.fixture(scope="module")
def session(
    indexed: Path, vmcore: Path, directory: Path, make_room: Callable[..., Confinement]
) -> Iterator[Crash]:
    room = make_room(command_s=6, watchdog_s=2, section_bytes=SECTION_BYTES, attempts=8)
    with start(LocalPlace(Path(needs("crash")), indexed, vmcore, room), directory) as crash:
        crash.open()
        yield crash


def run(session: Crash, directory: Path, *commands: str) -> tuple[Section, str]:
    path = directory / "section"
    section = session.run_snippet(Snippet("section", "A title", commands), path)
    return section, path.read_text(errors="replace")


def traces(directory: Path) -> list[str]:
    return [path.read_text() for path in sorted(directory.glob("crash.*.trc"))]


def test_commands_give_their_output_without_markers(session: Crash, tmp_path: Path) -> None:
    section, text = run(session, tmp_path, "bt", "sys")
    assert section.status == "ok"
    assert text.startswith("PID: ")
    assert "cas_oops" in text
    assert "DUMPFILE:" in text
    assert "cas-end" not in text


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("nosuchcommand", "crash: command not found: nosuchcommand"),
        ("p nosuchsymbol", "p: gdb request failed: p nosuchsymbol"),
        ("struct nosuchstruct", "struct: invalid data structure reference: nosuchstruct"),
        ("bt -Z", "bt: this crash does not take the options of: bt -Z"),
    ],
)
def test_a_command_that_crash_refuses_is_failed_and_the_next_one_runs(
    session: Crash, tmp_path: Path, command: str, complaint: str
) -> None:
    section, text = run(session, tmp_path, command, "sys")
    assert [outcome.status for outcome in section.commands] == ["failed", "ok"]
    assert (section.status, section.error) == ("partly", complaint)
    assert "DUMPFILE:" in text


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("!sleep 100", "hung: no output and no use of the processor for 2 s"),
        ("!setsid sleep 100", "hung: no output and no use of the processor for 2 s"),
        pytest.param("!while :; do :; done", "timed out after 6 s", marks=pytest.mark.long),
    ],
)
def test_a_command_that_does_not_end_is_ended_and_the_next_one_runs(
    session: Crash, tmp_path: Path, directory: Path, command: str, reason: str
) -> None:
    before = traces(directory)
    section, text = run(session, tmp_path, command, "sys")
    assert (section.status, section.error) == ("timeout", f"{command}: {reason}")
    assert "DUMPFILE:" in text
    (trace,) = set(traces(directory)) - set(before)
    assert f"Traced because: {reason}\n" in trace
    assert f"Last command: {command}\n" in trace
    assert "Degradation level: crash\n" in trace


@pytest.mark.long
def test_a_slow_command_that_computes_runs_to_its_end(session: Crash, tmp_path: Path) -> None:
    busy = "!end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do :; done; echo done"
    section, text = run(session, tmp_path, busy)
    assert (section.status, text) == ("ok", "done\n")


def test_endless_output_is_cut_and_the_next_command_runs(session: Crash, tmp_path: Path) -> None:
    section, text = run(session, tmp_path, "!yes", "sys")
    assert section.status == "cut"
    assert section.error == f"!yes: cut after {human_size(SECTION_BYTES)}"
    assert "DUMPFILE:" in text[SECTION_BYTES:]


@pytest.mark.long
def test_a_death_costs_one_command(session: Crash, tmp_path: Path, directory: Path) -> None:
    section, text = run(session, tmp_path, "!kill -SEGV $PPID", "sys")
    assert section.status == "crashed"
    assert section.error == "!kill -SEGV $PPID: killed by SIGSEGV"
    assert "DUMPFILE:" in text
    assert any("Traced because: killed by SIGSEGV\n" in trace for trace in traces(directory))


def test_neither_the_network_nor_other_files_are_there(session: Crash, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("other ticket's")
    _, text = run(session, tmp_path, f"!ls -A ~ /tmp; cat {tmp_path}/secret; cat /proc/net/dev")
    assert text.startswith("/home/cas:\n\n/tmp:\n")
    assert "other ticket's" not in text
    assert "eth0" not in text


def test_a_dump_that_crash_cannot_open_gives_every_rungs_reason(
    vmlinux: Path, tmp_path: Path, room: Confinement
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"KDUMP   " + bytes(100_000))
    with (
        start(LocalPlace(Path(needs("crash")), vmlinux, garbage, room), tmp_path) as crash,
        pytest.raises(
            EngineError,
            match=r"^crash, .*, crash --minimal: .*exit status 1: crash: ",
        ),
    ):
        crash.open()
    everything = "crash --no_kmem_cache --no_modules --zero_excluded"
    assert crash.ladder == ["crash", "crash --zero_excluded", everything, "crash --minimal"]


def test_too_little_memory_is_told(
    indexed: Path, vmcore: Path, tmp_path: Path, make_room: Callable[..., Confinement]
) -> None:
    room = make_room(memory_bytes=200 << 20, attempts=1)
    here = LocalPlace(Path(needs("crash")), indexed, vmcore, room)
    with start(here, tmp_path) as crash, pytest.raises(EngineError, match="exit status 1"):
        crash.open()


@pytest.mark.long
def test_a_gdbinit_or_crashrc_of_ours_or_beside_the_dump_is_not_executed(
    indexed: Path,
    vmcore: Path,
    tmp_path: Path,
    make_room: Callable[..., Confinement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dump = tmp_path / "vmcore"
    dump.symlink_to(vmcore)
    for name in (".crashrc", ".gdbinit"):
        (tmp_path / name).write_text(f"!touch {tmp_path}/executed\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    here = LocalPlace(Path(needs("crash")), indexed, dump, make_room(boxed=False))
    with start(here, tmp_path) as crash:
        crash.open()
    assert not (tmp_path / "executed").exists()
