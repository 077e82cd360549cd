"""crash's own ladder, climbed down by programs that fail at its start as crash does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fake_crash
import pytest

from cas.engines.crash.place import LocalPlace
from cas.engines.crash.rungs import MINIMAL, next_rung
from cas.engines.crash.session import Crash
from cas.engines.crash.start_failures import ExpectedDump
from cas.errors import EngineError
from cas.model.snippet import Snippet
from cas.supervise import Confinement

ALL = "--no_kmem_cache --no_modules --zero_excluded"
SHELL = fake_crash.loop("""case $w in
    die) kill -SEGV $$;;
    hang) sleep 1000;;
    starve) echo "crash: cannot malloc a lot"; exit 1;;
    !*) ${w#!};;
    *) echo "did $w";;
esac""")


@pytest.fixture
def begin(
    tmp_path: Path, vmcore: Path, make_room: Callable[..., Confinement]
) -> Callable[..., Crash]:
    """Start a program that fails as a script says, unless its options hold what mends it."""

    def begin(script: str, **rules: float) -> Crash:
        program = tmp_path / "crash"
        version = "[ $1 != --version ] || { echo crash 9.9.9; exit 0; }\n"
        program.write_text(f"#!/bin/sh\n{version}{script}\n{SHELL}")
        program.chmod(0o755)
        room = make_room(**{"watchdog_s": 1, "stop_s": 0.5, **rules})
        here = LocalPlace(program, vmcore, vmcore, room)
        return Crash(here, room.supervision, tmp_path, (tmp_path / "crash.out").open("wb"), print)

    return begin


@pytest.mark.parametrize(
    ("says", "mended_by"),
    [
        ("crash: invalid structure member offset: kmem_cache_s_num", "--no_kmem_cache"),
        ("crash: cannot gather relevant slab data", "--no_kmem_cache"),
        ("crash: cannot access vmalloc'd module memory", "--no_modules"),
        ("crash: page excluded: kernel virtual address: ffff type: x", "--zero_excluded"),
        ("crash: seek error: kernel virtual address: ffff", "--zero_excluded"),
        ("crash: read error: kernel virtual address: ffff", "--zero_excluded"),
    ],
)
def test_what_crash_complains_of_is_left_out(
    begin: Callable[..., Crash], says: str, mended_by: str
) -> None:
    script = f'case "$*" in *{mended_by}*) ;; *) echo "{says}"; exit 1;; esac'
    with begin(script) as crash:
        assert crash.open() == mended_by
    assert crash.ladder == ["crash", f"crash {mended_by}"]


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        ("exit 1", "exit status 1 without a message"),
        ("kill -ABRT $$", "killed by SIGABRT$"),
        ("sleep 1000", "hung: no output and no use of the processor for 1 s"),
        ("echo it is all wrong; exit 1", "exit status 1: it is all wrong"),
        ("echo cannot malloc that >&2; exit 1", "out of memory"),
    ],
)
def test_every_way_to_fail_goes_down_to_the_last_rung(
    begin: Callable[..., Crash], fails: str, reason: str
) -> None:
    with begin(fails, attempts=5) as crash, pytest.raises(EngineError, match=reason) as caught:
        crash.open()
    assert crash.ladder == [
        "crash",
        "crash --zero_excluded",
        f"crash {ALL}",
        "crash --minimal",
    ]
    assert caught.value.hint.startswith("crash 9.9.9 may be too old")


WHOLE = ExpectedDump(releases=("6.1.192-1.cas1.x86_64",), is_whole=True)


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        ("echo vmlinux and vmcore do not match!; exit 1", r"crash 9\.9\.9 is too old for 6\.1$"),
        ("exit 1", r"crash 9\.9\.9 is too old for 6\.1$"),
        ("echo no room; exit 1", r"crash 9\.9\.9 does not open the dump: exit status 1: no room$"),
    ],
)
def test_a_whole_dump_that_drgn_reads_costs_one_start(
    begin: Callable[..., Crash], fails: str, reason: str
) -> None:
    with begin(fails) as crash:
        crash.expected = WHOLE
        with pytest.raises(EngineError, match=reason):
            crash.open()
    assert crash.ladder == ["crash"]


def test_of_a_whole_dump_what_crash_complains_of_is_left_out_as_well(
    begin: Callable[..., Crash],
) -> None:
    script = 'case "$*" in *--no_modules*) ;; *) echo "crash: module list"; exit 1;; esac'
    with begin(script) as crash:
        crash.expected = WHOLE
        assert crash.open() == "--no_modules"


def once(directory: Path, how: str) -> str:
    """A script that does something in its first run only."""
    return f"[ -e {directory}/seen ] || {{ : > {directory}/seen; {how}; }}"


@pytest.mark.parametrize("signal", ["KILL", "TERM", "SEGV", "STOP"])
def test_a_crash_that_a_signal_ends_or_stops_is_started_once_more_as_it_was(
    begin: Callable[..., Crash], tmp_path: Path, signal: str
) -> None:
    with begin(once(tmp_path, f"kill -{signal} $$"), boxed=False) as crash:
        assert crash.open() == ""
    assert crash.ladder == ["crash"]
    (trace,) = tmp_path.glob("crash.*.trc")
    why = "stopped by" if signal == "STOP" else "killed by"
    assert f"Traced because: {why} SIG{signal}\n" in trace.read_text()


def test_a_crash_that_somebody_kills_again_and_again_says_nothing_against_the_dump(
    begin: Callable[..., Crash],
) -> None:
    with (
        begin("kill -KILL $$") as crash,
        pytest.raises(EngineError, match=r"^crash: killed by SIGKILL$"),
    ):
        crash.open()
    assert crash.ladder == ["crash"]


@pytest.mark.parametrize(
    "script",
    [
        "exec cat",
        'while read -r line; do echo "$line"; done',
        'while read -r w x; do [ "$w" = echo ] && echo "$x"; done',
        'while read -r line; do [ "${line#echo}" = "$line" ] || eval "$line"; done',
    ],
)
def test_what_repeats_its_input_or_only_markers_is_no_crash(
    begin: Callable[..., Crash], script: str
) -> None:
    with begin(script, attempts=1) as crash, pytest.raises(EngineError, match="repeats what it is"):
        crash.open()


def test_what_adds_up_but_knows_no_kernel_is_no_crash(begin: Callable[..., Crash]) -> None:
    liar = fake_crash.loop("true").replace("Linux version", "")
    with begin(liar) as crash, pytest.raises(EngineError, match="does not say which kernel"):
        crash.open()
    assert crash.ladder == ["crash"]


def test_a_crash_that_shows_another_kernel_is_not_believed(begin: Callable[..., Crash]) -> None:
    with begin("") as crash:
        crash.expected = ExpectedDump(releases=("6.12.0-1",))
        with pytest.raises(EngineError, match=r"shows Linux 6\.1\..*, the dump is of 6\.12\.0"):
            crash.open()


def test_a_crash_that_floods_while_it_opens_leaves_a_trace(
    begin: Callable[..., Crash], tmp_path: Path
) -> None:
    reason = r"cut after [\d.]+ [KMG]iB$"
    with begin("exec yes", attempts=1) as crash, pytest.raises(EngineError, match=reason):
        crash.open()
    (trace,) = tmp_path.glob("crash.*.trc")
    assert "Traced because: cut after" in trace.read_text()


def test_a_complaint_that_goes_on_in_the_next_line_ends_with_its_words(
    begin: Callable[..., Crash],
) -> None:
    script = "echo 'crash: The namelist is a debuginfo file,'; echo 'which needs more'; exit 1"
    with begin(script) as crash, pytest.raises(EngineError, match=r"is a debuginfo file$"):
        crash.open()


def test_a_start_that_takes_too_long_is_given_up(begin: Callable[..., Crash]) -> None:
    busy = "while :; do :; done"
    reason = r"not ready after 1\.5 s"
    with begin(busy, start_s=1.5, attempts=1) as crash, pytest.raises(EngineError, match=reason):
        crash.open()


def test_attempts_are_capped(begin: Callable[..., Crash]) -> None:
    with begin("exit 1", attempts=2) as crash, pytest.raises(EngineError):
        crash.open()
    assert crash.ladder == ["crash", "crash --zero_excluded"]


def test_a_silent_end_at_the_start_leaves_a_trace(
    begin: Callable[..., Crash], tmp_path: Path
) -> None:
    with begin("exit 1", attempts=1) as crash, pytest.raises(EngineError):
        crash.open()
    (trace,) = tmp_path.glob("crash.*.1.trc")
    assert "Last command: (opening the dump)\n" in trace.read_text()
    assert "Attempt: 1 of 1\n" in trace.read_text()


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        ("die", "crashed", "die: killed by SIGSEGV"),
        ("hang", "timeout", "hang: hung: no output and no use of the processor for 1 s"),
        ("starve", "memory", "starve: out of memory, the limit is "),
    ],
)
def test_a_session_goes_on_without_the_command_that_broke_it(
    begin: Callable[..., Crash], tmp_path: Path, command: str, status: str, error: str
) -> None:
    with begin("") as crash:
        crash.open()
        section = crash.run_snippet(Snippet("s", "S", ("one", command, "two")), tmp_path / "s")
    assert section.status == status
    assert section.error is not None
    assert section.error.startswith(error)
    assert (tmp_path / "s").read_text().endswith("did two\n")
    assert len(list(tmp_path.glob("crash.*.trc"))) == 1


def test_a_command_during_which_somebody_kills_crash_is_run_once_more(
    begin: Callable[..., Crash], tmp_path: Path
) -> None:
    with begin("", boxed=False) as crash:
        crash.open()
        once = f"!{tmp_path}/once"
        kill = f"[ -e {tmp_path}/seen ] || {{ : > {tmp_path}/seen; echo half; kill -KILL $PPID; }}"
        (tmp_path / "once").write_text(f"#!/bin/sh\n{kill}\necho whole\n")
        (tmp_path / "once").chmod(0o755)
        section = crash.run_snippet(Snippet("s", "S", (once, "two")), tmp_path / "s")
    assert [each.status for each in section.commands] == ["ok", "ok"]
    assert (tmp_path / "s").read_text() == "whole\ndid two\n"


def test_a_program_that_ignores_requests_to_stop_is_killed(
    begin: Callable[..., Crash], tmp_path: Path
) -> None:
    with begin("trap '' INT TERM") as crash:
        crash.open()
        section = crash.run_snippet(Snippet("s", "S", ("hang", "two")), tmp_path / "s")
    assert section.status == "timeout"
    assert (tmp_path / "s").read_text() == "did two\n"


def test_when_the_starts_are_used_up_the_rest_is_not_run(
    begin: Callable[..., Crash], tmp_path: Path
) -> None:
    with begin("", attempts=2) as crash:
        crash.open()
        section = crash.run_snippet(Snippet("s", "S", ("die", "die", "one")), tmp_path / "s")
    assert section.error is not None
    assert section.error.endswith("crash could not be started again")


@pytest.mark.parametrize("said", [b"", b"kmem_cache", b"module", b"seek error", b"\xff" * 99])
def test_every_ladder_ends(said: bytes) -> None:
    options, rungs = (), 0
    while (options := next_rung(options, said)) is not None:
        rungs += 1
        assert rungs < 6
        last = options
    assert last == MINIMAL
