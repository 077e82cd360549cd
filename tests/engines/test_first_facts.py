"""What is known of a crash while drgn's process tells it fact by fact."""

from __future__ import annotations

from cas.engines.drgn.first_answer import FACTS_THAT_KILL, Facts

TASK = {"pid": 1, "comm": "init", "cpu": 0, "state": "R", "address": 1}


def told(*names: str) -> Facts:
    facts = Facts({"dmesg": "a line", "panic_message": "Oops"})
    for name in names:
        tell(facts, name, TASK if name == "panic_task" else [])
    return facts


def tell(facts: Facts, name: str, value: object, problem: str | None = None) -> None:
    facts.take_message({"reading": name, "what": f"the {name}"})
    facts.take_message({"fact": name, "value": value, "problem": problem})


def test_a_crash_is_told_once_task_and_backtrace_are_there() -> None:
    assert not told("panic_task").is_crash_told
    assert told("panic_task", "backtrace").is_crash_told


def test_what_is_known_or_told_is_asked_no_more() -> None:
    assert told("taint").done == ["dmesg", "panic_message", "taint"]


def test_a_fact_that_kills_drgn_costs_itself_and_the_rest_is_asked() -> None:
    facts = told("panic_task")
    facts.take_message({"reading": "backtrace", "what": "the backtrace"})
    assert facts.lose("drgn was killed by SIGSEGV")
    facts.begin()
    assert "backtrace" in facts.done
    tell(facts, "nodename", "host")
    answer = facts.answer()
    assert (answer.backtrace, answer.nodename) == ((), "host")
    assert answer.problems == ("the backtrace: drgn was killed by SIGSEGV",)


def test_a_dump_that_kills_drgn_before_any_fact_is_read_is_given_up() -> None:
    facts = told()
    assert not facts.lose("drgn was killed by SIGSEGV")
    assert facts.is_empty


def test_when_several_facts_have_killed_drgn_the_rest_is_left_out() -> None:
    facts, went_on = told("panic_task"), list[bool]()
    for number in range(FACTS_THAT_KILL + 1):
        facts.take_message({"reading": f"fact {number}", "what": f"fact {number}"})
        went_on.append(facts.lose("gone"))
    assert went_on == [True] * FACTS_THAT_KILL + [False]


def test_a_problem_of_a_fact_is_kept_with_its_value() -> None:
    facts = Facts()
    tell(facts, "kmods", [], "the list of kernel modules: damaged")
    assert facts.answer().problems == ("the list of kernel modules: damaged",)
