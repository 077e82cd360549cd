"""What is said of damaged dumps: what is missing, what was saved, what to write to the customer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dump.writer import PAGE, Elf, Kdump, flattened, identified, info_note, kernel_memory

from cas.choices import Cause, Engine, SectionStatus, Stage, Verdict
from cas.findings import assess
from cas.findings.damage import causes
from cas.model.answer import FirstAnswer
from cas.model.code import Frame
from cas.model.dump import Dump, Missing, Registers, Stored
from cas.model.report import Report
from cas.model.snippet import Section

MEMORY, INFO = kernel_memory()
PAGES = {at // PAGE + n: data[PAGE * n :][:PAGE] for at, data in MEMORY.items() for n in (0, 1)}
ELF = Elf(MEMORY, [info_note(INFO)])
KDUMP = Kdump(PAGES, INFO)
FRAMES = (0x100, 0x101)

# The sentences are of the readers; what is asked of the customer goes by the cause alone.
CUT = Missing("declares 8.0 GiB, data ends at 3.2 GiB (40 %)", 3_435_973_836, Cause.CUT)
MARKED = Missing("makedumpfile marked the dump as incomplete", cause=Cause.INCOMPLETE)
PACKED = Missing("the data of vmcore.gz is cut off", 17, Cause.WRAPPING)
DMESG = "".join(f"[{number:5}.400000] line {number}\n" for number in range(813))


@pytest.fixture
def dump(tmp_path: Path) -> Dump:
    """A dump of which 3.2 GiB arrived."""
    return Dump(tmp_path / "vmcore", "KDUMP", 3_435_973_836, "x86_64", "6.1.0", "ab" * 20)


@pytest.fixture
def report(tmp_path: Path, dump: Dump) -> Report:
    return Report(
        ticket="T-1",
        directory=tmp_path,
        upload=Path("/in/vmcore 1.kdump"),
        server="here",
        started=datetime.now(UTC),
        verdict=Verdict.PARTIAL,
        stage=Stage.ANALYSED,
        dump=replace(dump, missing=(CUT,)),
    )


def section(name: str, status: str) -> Section:
    return Section(name, name, SectionStatus(status), Engine.CRASH, Path(name), size_bytes=1)


def test_nothing_is_said_of_a_dump_that_is_whole(report: Report, dump: Dump) -> None:
    assert assess(replace(report, dump=dump)) is None
    assert assess(replace(report, dump=None)) is None
    assert assess(replace(report, dump=dump, stored=Stored(dump.path))) is None


def test_the_reason_says_what_is_missing_and_from_which_byte_on(report: Report) -> None:
    damage = assess(report)
    assert damage
    assert damage.reason == (
        "the dump is damaged: declares 8.0 GiB, data ends at 3.2 GiB (40 %), "
        "from byte 3,435,973,836 on"
    )


def test_very_many_missing_things_are_counted(report: Report, dump: Dump) -> None:
    many = replace(dump, missing=tuple(Missing(f"lack {n}") for n in range(60_000)))
    damage = assess(replace(report, dump=many))
    assert damage
    assert damage.reason.endswith("lack 4; and 59995 more")
    assert len(damage.customer_note) < 4000


def test_what_was_recovered_is_listed(report: Report) -> None:
    assert report.dump
    registers = tuple(Registers(cpu, 0, {"rip": 1}) for cpu in range(4))
    full = replace(
        report,
        dump=replace(report.dump, dmesg=DMESG, panic_message="BUG: x", registers=registers),
        answer=FirstAnswer(backtrace=(Frame("f"),)),
        sections=(*(section(f"s{n}", "ok") for n in range(21)), section("last", "timeout")),
        stored=Stored(report.dump.path, sidecars=(Path("a"), Path("b"))),
    )
    damage = assess(full)
    assert damage
    assert damage.recovered == (
        "release and build-id",
        "kernel log (813 lines, to 812.4 s)",
        "panic message",
        "backtrace",
        "registers of 4 processors",
        "21 of 22 sections",
        "2 files that came with it",
    )


def test_a_dump_that_gave_nothing_says_so_to_the_customer(report: Report) -> None:
    assert report.dump
    bare = replace(report.dump, osrelease=None, build_id=None)
    damage = assess(replace(report, dump=bare))
    assert damage
    assert damage.recovered == ()
    assert "Nothing could be read" in damage.customer_note


def test_the_customer_reads_what_came_what_is_wrong_why_and_what_to_do(report: Report) -> None:
    damage = assess(report, 3_435_973_836)
    assert damage
    came, wrong, why, what, meanwhile = damage.customer_note.split("\n\n")
    assert "vmcore 1.kdump (3,435,973,836 bytes, 3.2 GiB) for ticket T-1" in came
    assert "declares 8.0 GiB, data ends at 3.2 GiB (40 %), from byte 3,435,973,836 on" in wrong
    assert "copy or a transfer" in why
    assert "sha256sum 'vmcore 1.kdump'" in what
    assert "release and build-id" in meanwhile


@pytest.mark.parametrize(
    ("missing", "stored", "arrived", "words"),
    [
        ((CUT,), (), None, "copy or a transfer"),
        ((CUT,), (), 1_000_000, "was cut before it was packed"),
        ((MARKED,), (), None, "crashkernel="),
        ((MARKED, CUT), (), None, "free space of the dump target"),
        ((CUT,), (PACKED,), 1_000_000, "compressed file ends too early"),
        ((Missing("the data ends", 7, Cause.DAMAGED),), (), None, "changed by storage"),
        ((Missing("the data ends", 7, Cause.BLANK),), (), None, "was not finished"),
        ((Missing("page frames 0 to 9", cause=Cause.PART),), (), None, "other parts"),
        ((Missing("something"),), (), None, "lost on the way"),
        ((CUT,), (Missing("of an old record"),), 1_000_000, "compressed file ends too early"),
    ],
)
def test_each_kind_of_damage_asks_for_something_else(
    report: Report,
    missing: tuple[Missing, ...],
    stored: tuple[Missing, ...],
    arrived: int | None,
    words: str,
) -> None:
    assert report.dump
    damaged = replace(
        report,
        dump=replace(report.dump, missing=missing),
        stored=Stored(report.dump.path, missing=stored),
    )
    damage = assess(damaged, arrived)
    assert damage
    assert words in damage.customer_note


def test_a_missing_part_is_asked_for_and_our_own_mark_is_not_makedumpfiles(report: Report) -> None:
    assert report.dump
    part = Missing("no part has page frames 10 to 20: 7 pages, 28.0 KiB", cause=Cause.PART)
    parts = (Path("p1"), Path("p3"))
    stored = Stored(report.dump.path, parts, missing=(part,))
    damaged = replace(report, stored=stored, dump=replace(report.dump, missing=(MARKED,)))
    assert causes(damaged, 5) == (Cause.PART,)


def test_names_of_the_customer_cannot_forge_the_note(report: Report) -> None:
    damage = assess(replace(report, upload=Path("x\n\nsend us your passwords \x1b[31m; {name}")))
    assert damage
    assert len(damage.customer_note.split("\n\n")) == 5
    assert "\x1b" not in damage.customer_note


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda: ELF.build()[:-100], Cause.CUT),
        (lambda: KDUMP.build()[:-10], Cause.CUT),
        (lambda: flattened(ELF.build(), end=False), Cause.CUT),
        (lambda: flattened(ELF.build())[:-100], Cause.CUT),
        (lambda: replace(ELF, flags=1).build(), Cause.INCOMPLETE),
        (lambda: replace(KDUMP, status=9).build(), Cause.INCOMPLETE),
        (lambda: replace(KDUMP, split=FRAMES).build(), Cause.PART),
        (lambda: KDUMP.build()[:-4] + b"\xff\xff\xff\xff", Cause.PAGES),
    ],
)
def test_the_readers_say_why(
    report: Report, tmp_path: Path, make: Callable[[], bytes], cause: Cause
) -> None:
    dump = identified(tmp_path, make())
    assert {lack.cause for lack in dump.missing} == {cause}, dump.missing
    assert causes(replace(report, dump=dump), dump.size_bytes) == (cause,)
