"""RCU, run queues, calls between CPUs: the shipped dump with words as a stall leaves them."""

from __future__ import annotations

import pytest
from altered import put
from drgn import Object, offsetof
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.sched import task_cpu

from cas.choices import Weight
from cas.detectors import calls, rcu, runqueues
from cas.detectors.case import Case
from cas.detectors.processors import processors


def begin_grace_period(case: Case, seconds: int) -> None:
    state = case.prog["rcu_state"]
    assert case.hz
    put(state.gp_seq, state.gp_seq.value_() & ~3 | 1)
    put(state.gp_start, case.prog["jiffies"].value_() - seconds * case.hz)


def test_a_grace_period_is_told_with_the_cpu_that_it_waits_for(own_case: Case) -> None:
    begin_grace_period(own_case, 26)
    node = per_cpu(own_case.prog["rcu_data"], 1).mynode
    put(node.qsmask, 2)
    (found,) = rcu.detect(own_case)
    assert found.sentence == "an RCU grace period has not ended for 26 s, waiting for CPU 1"
    assert found.details[0].startswith("CPU 1: kworker/1:1")
    assert found.weight is Weight.CAUSE


def test_a_grace_period_that_waits_for_nobody_explains_nothing(own_case: Case) -> None:
    begin_grace_period(own_case, 26)
    (found,) = rcu.detect(own_case)
    assert found.sentence.endswith("; no CPU or task is awaited any more")
    assert found.weight is Weight.CONTEXT


def test_rcus_own_thread_that_does_not_run_is_told_with_its_cpu(own_case: Case) -> None:
    begin_grace_period(own_case, 26)
    state, hz = own_case.prog["rcu_state"], own_case.hz
    assert hz
    put(state.gp_activity, own_case.prog["jiffies"].value_() - 25 * hz)
    (found,) = rcu.detect(own_case)
    cpu = int(task_cpu(state.gp_kthread))
    assert found.sentence.endswith(f", but RCU's own thread, of CPU {cpu}, has not run for 25 s")
    assert found.weight is Weight.CONTEXT


@pytest.mark.parametrize(("kind", "seconds"), [("oops", 4), ("rcu-stall", 0), ("oops", 10**8)])
def test_a_young_grace_period_and_an_absurd_one_are_not_told(
    own_case: Case, kind: str, seconds: int
) -> None:
    own_case.kind = kind
    begin_grace_period(own_case, seconds)
    assert list(rcu.detect(own_case)) == []


def test_callbacks_that_pile_up_are_told(own_case: Case) -> None:
    put(per_cpu(own_case.prog["rcu_data"], 1).cblist.len, 123_456)
    (found,) = rcu.detect(own_case)
    assert found.sentence == "many RCU callbacks wait: CPU 1 has 123,456"


def queue(case: Case, seconds: float) -> Object:
    """Let a task wait for CPU 1 for so long, on which another one runs."""
    task: Object = next(each.task for each in case.tasks("S") if each.comm == "init")
    for member, number in (("on_rq", 1), ("__state", 0)):
        put(task.member_(member), number)
    put(task.sched_info.last_queued, case.clock_ns - int(seconds * 1e9))
    case._seen.clear()
    case._rest = None
    return task


@pytest.mark.parametrize(
    ("policy", "runs", "weight"),
    [(0, "runs", Weight.CONTEXT), (1, "runs with real-time priority 50", Weight.CAUSE)],
)
def test_who_waits_longest_for_a_cpu_is_told_with_who_has_it(
    own_case: Case, policy: int, runs: str, weight: Weight
) -> None:
    task = queue(own_case, 5)
    cpu = own_case.cpu_of(task)
    current = own_case.run_queue(cpu).curr
    put(current.policy, policy)
    put(current.rt_priority, 50)
    (found,) = runqueues.detect(own_case)
    name = own_case.kernel_task(current).name
    assert found.sentence == (
        f"init (pid 1) could run and has waited 5 s for CPU {cpu}, on which {name} {runs}"
    )
    assert found.weight is weight


def test_a_short_wait_for_a_cpu_is_not_told(own_case: Case) -> None:
    queue(own_case, 1)
    assert list(runqueues.detect(own_case)) == []


def test_throttled_real_time_tasks_are_told(own_case: Case) -> None:
    rt = own_case.run_queue(1).rt
    for member, number in (("throttled", 1), ("time", 951 * 10**6), ("runtime", 950 * 10**6)):
        put(rt.member_(f"rt_{member}"), number)
    (found,) = runqueues.detect(own_case)
    assert found.sentence.startswith("real-time tasks are throttled on CPU 1: they had 1 s")


def test_a_call_is_told_where_another_cpu_waits_for_the_answer(
    own_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    prog = own_case.prog
    call = Object(prog, "struct __call_single_data *", per_cpu(prog["csd_data"], 1).address_)
    put(call.node.llist.next, 0)
    put(call.node.u_flags, calls.LOCKED)
    put(call.func, prog.symbol("panic").address)
    put(per_cpu(prog["call_single_queue"], 1).first, call.value_())
    assert offsetof(prog.type("struct __call_single_data"), "node") == 0
    assert list(calls.detect(own_case)) == []  # nobody waits for it
    every = list(processors(own_case))
    waiting = next(each for each in every if each.cpu == 0)
    monkeypatch.setattr(calls, "WAITS", calls.re.compile(waiting.frames[0].function))
    (found,) = calls.detect(own_case)
    assert found.sentence.startswith("CPU 1 has not answered a call to run panic; CPU 0 (swapper/0")
