"""What the snippets did not give: what of it costs the verdict, and how that is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cas.choices import Engine, SectionStatus
from cas.findings import given_up, shortfall
from cas.model.snippet import Outcome, Section


def section(
    name: str,
    *commands: Outcome,
    status: SectionStatus = SectionStatus.OK,
    error: str | None = None,
) -> Section:
    error = error or "; ".join(each.error for each in commands if each.error) or None
    return Section(name, name, status, Engine.CRASH, Path(name), error=error, commands=commands)


def failed(command: str, error: str = "no such thing", *, lacks_memory: bool = False) -> Outcome:
    return Outcome(
        command, SectionStatus.FAILED, Engine.DRGN, f"{command}: {error}", lacks_memory=lacks_memory
    )


FINE = section("sys", Outcome("sys", SectionStatus.OK, Engine.CRASH))


def test_where_every_command_is_answered_nothing_is_said() -> None:
    skipped = section(
        "swap",
        Outcome("swap", SectionStatus.SKIPPED, Engine.NONE, "no swap"),
        status=SectionStatus.SKIPPED,
    )
    found = shortfall([FINE, skipped], ())
    assert (found.reason, found.unanswered) == (None, None)
    assert found.skipped == "skipped, since this kernel has nothing of the kind: swap"


def test_what_no_debugger_answers_is_told_and_costs_nothing() -> None:
    found = shortfall([FINE, section("memory", failed("kmem -f"))], ())
    assert found.reason is None
    assert found.unanswered == "no debugger here answers memory: kmem -f: no such thing"


@pytest.mark.parametrize("name", ["traceback", "log", "ps"])
def test_the_first_things_anybody_looks_at_must_be_there(name: str) -> None:
    found = shortfall([FINE, section(name, failed("x"))], ())
    assert (
        found.reason
        == f"of 2 snippets 1 got no answer from any debugger ({name}: x: no such thing)"
    )


def test_a_reason_that_all_have_is_told_once() -> None:
    why = "short read"
    lost = (
        section("ps", failed("ps -S", why), failed("ps", why)),
        section("log", failed("log", why)),
    )
    found = shortfall([FINE, *lost], ())
    assert found.reason == "of 3 snippets 2 got no answer from any debugger (ps, log: short read)"


def test_a_snippet_of_the_sites_is_named() -> None:
    found = shortfall([FINE, section("mine", FINE.commands[0], failed("nosuch"))], {"mine"})
    assert found.reason == "of 2 snippets 1 could not be used (mine: nosuch: no such thing)"
    assert found.unanswered is None


def test_a_snippet_that_gave_no_commands_counts() -> None:
    found = shortfall(
        [FINE, section("mine", status=SectionStatus.FAILED, error="cannot start it")], {"mine"}
    )
    assert found.reason == "of 2 snippets 1 could not be used (mine: cannot start it)"


def test_memory_that_the_dump_lacks_counts() -> None:
    found = shortfall([FINE, section("slabs", failed("kmem -s", lacks_memory=True))], ())
    assert found.reason is not None
    assert "1 wanted memory that the dump does not have (slabs: " in found.reason


def test_causes_are_grouped_in_one_sentence_and_few_names_are_told() -> None:
    gone = Outcome("bt", SectionStatus.NOT_RUN, Engine.DRGN, "drgn cannot open the dump: bad magic")
    slow = Outcome("kmem -s", SectionStatus.TIMEOUT, Engine.CRASH, "kmem -s: timed out after 9 s")
    all_of_them = [*(section(f"s{n}", gone) for n in range(20)), section("slabs", slow), FINE]
    assert shortfall(all_of_them, ()).reason == (
        "of 22 snippets 20 did not run (s0, s1, s2, s3, s4 and 15 more: drgn cannot open the dump:"
        " bad magic), 1 broke a limit or its debugger (slabs: kmem -s: timed out after 9 s)"
    )
    told = ["drgn gave no first answer: drgn cannot open the dump: bad magic"]
    assert "did not run (s0, s1, s2, s3, s4 and 15 more)" in str(shortfall(all_of_them, (), told))


def test_registers_beside_the_snippets_are_not_counted() -> None:
    registers = Section(
        "registers", "Registers", SectionStatus.OK, Engine.SALVAGE, Path("registers")
    )
    reason = shortfall([registers, section("log", failed("log"))], ()).reason
    assert reason is not None
    assert reason.startswith("of 1 snippet ")


def test_what_another_engine_did_instead_is_one_sentence_for_each_pair() -> None:
    lost = Outcome("sys -t", SectionStatus.FAILED, Engine.CRASH, "sys: option not supported")
    assert given_up([(lost, "drgn"), (lost, "drgn"), (lost, "salvage")]) == (
        "crash could not answer 2 commands, drgn did: sys: option not supported",
        "read from the dump without a debugger: sys -t",
    )


def minimal(command: str) -> Outcome:
    name = command.partition(" ")[0]
    return failed(command, f"crash: {name}: command not available in minimal mode")


def test_what_crash_lacks_in_its_minimal_mode_is_one_short_sentence() -> None:
    lost = [minimal(one) for one in ("foreach -u bt", "dev -d", "kmem -i", "swap", "net -s", "mod")]
    named = [section(f"s{number}", one) for number, one in enumerate(lost)]
    why = "command not available in minimal mode"
    assert shortfall(named, ()).unanswered == (
        f"no debugger here answers s0, s1, s2, s3, s4 and 1 more: {why}"
    )
    crash = [(replace(one, engine=Engine.CRASH), Engine.DRGN) for one in lost]
    assert given_up(crash) == (f"crash could not answer 6 commands, drgn did: {why}",)


def test_of_many_reasons_none_is_told_in_the_sentence() -> None:
    lost = [failed(f"kmem {number}", f"reason {number}") for number in range(9)]
    assert shortfall([section("memory", *lost)], ()).unanswered == "no debugger here answers memory"
