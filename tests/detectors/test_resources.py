"""Disks, file systems, work queues, timers and interrupts: silent where all is well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from altered import put
from drgn import Object
from drgn.helpers.linux.block import disk_name, for_each_disk
from drgn.helpers.linux.irq import for_each_irq_desc
from drgn.helpers.linux.percpu import per_cpu

from cas.choices import DetectorStatus, Weight
from cas.detectors import (
    disks,
    file_systems,
    interrupts,
    memory_groups,
    requests,
    rpc,
    timers,
    workqueues,
)
from cas.detectors.case import Case
from cas.detectors.moment import Moment, crash_stamp, moment_of
from cas.detectors.mounts import super_blocks, type_name
from cas.detectors.registry import Detector, detectors_of
from cas.detectors.running import run_detector
from cas.detectors.timers import next_due, pending_buckets
from cas.engines.drgn.child import commands as drgn_commands
from cas.klog.lines import Log
from cas.model.code import Frame
from cas.model.evidence import Evidence

DETECTORS = (
    disks,
    file_systems,
    interrupts,
    memory_groups,
    requests,
    rpc,
    timers,
    workqueues,
)
NS = 1_000_000_000
MINUTE_S = 60


def detector_of(module: ModuleType) -> Detector:
    name = module.__name__.rpartition(".")[2]
    return next(each for each in detectors_of() if each.name == name)


def look(module: ModuleType, case: Case) -> tuple[Evidence, ...]:
    found = run_detector(detector_of(module), case)
    assert found.status is DetectorStatus.OK, found.remark
    return found.evidence


@pytest.mark.parametrize("module", DETECTORS)
def test_a_machine_that_is_well_gives_nothing(case: Case, module: ModuleType) -> None:
    found = run_detector(detector_of(module), case)
    assert found.evidence == ()
    is_for_others = module in (memory_groups, rpc)
    assert found.status == (DetectorStatus.SKIPPED if is_for_others else DetectorStatus.OK)
    assert is_for_others or found.remark is None
    assert found.seconds < 2


def test_a_frozen_file_system_is_named_with_its_mount(altered: Callable[..., Case]) -> None:
    case = altered("sysrq")
    sb = next(each for each in super_blocks(case) if type_name(case, each) == "ext2")
    put(sb.s_writers.frozen, 4)
    (frozen,) = look(file_systems, case)
    assert frozen.sentence.startswith("ext2 on ") and frozen.sentence.endswith(") is frozen")
    assert frozen.weight is Weight.CONTEXT


def test_read_only_is_told_where_no_user_asked_for_it(altered: Callable[..., Case]) -> None:
    case = altered("sysrq")
    sb = next(each for each in super_blocks(case) if type_name(case, each) == "ext2")
    put(sb.s_flags, int(sb.s_flags) | file_systems.SB_RDONLY)
    (found,) = look(file_systems, case)
    assert found.sentence.endswith("is read-only although it is mounted for writing")
    (mount,) = file_systems.mounts(sb)
    put(mount.mnt.mnt_flags, int(mount.mnt.mnt_flags) | file_systems.MNT_READONLY)
    assert look(file_systems, case) == ()


def later(case: Case, seconds: int) -> None:
    """Let so much more time have passed before the crash."""
    put(case.prog["jiffies_64"], int(case.prog["jiffies_64"]) + seconds * 250)
    clock = case.prog["tk_core"].timekeeper.tkr_mono.base
    put(clock, int(clock) + seconds * NS)


def in_flight(case: Case, age_s: int) -> Object:
    """Let the virtio disk have a request that is so old."""
    disk = next(each for each in for_each_disk(case.prog) if disk_name(each) == b"vda")
    queue = disk.queue
    tags = queue.tag_set.tags[0]
    request = tags.static_rqs[0]
    put(tags.bitmap_tags.sb.map[0].word, 1)
    put(tags.rqs[0], request.value_())
    put(request.tag, 0)
    put(request.q, queue.value_())
    put(request.state, 1)
    put(request.start_time_ns, moment_of(case).monotonic_ns - age_s * NS)
    if queue.elevator:
        put(queue.elevator, 0)
    return request


@pytest.mark.parametrize(
    ("kind", "age_s", "is_told"),
    # where tasks may hang for 2 s only, a request of 3 s is old
    [("sysrq", 3, False), ("sysrq", 6, True), ("hung-task", 3, True)],
)
def test_an_old_request_is_told(
    altered: Callable[..., Case], kind: str, age_s: int, is_told: bool
) -> None:
    case = altered(kind)
    request = in_flight(case, age_s)
    found = look(requests, case)
    assert bool(found) is is_told
    for each in found:
        words = f"vda: a request has waited for {age_s} s (read, in flight)"
        assert each.sentence.startswith(words)
        assert f"{request.value_():#x}" in each.source
        assert each.weight is Weight.CONTEXT  # nobody waits for a disk


@pytest.mark.parametrize(
    ("kind", "age_s", "waits", "weight"),
    [
        ("hung-task", 25, True, Weight.CAUSE),
        ("hung-task", 25, False, Weight.CONTEXT),
        ("hung-task", 15, True, Weight.CONTEXT),  # slow, but not stuck
        ("sysrq", 25, True, Weight.CONTEXT),
    ],
)
def test_a_stuck_request_explains_tasks_that_hang_for_their_disk(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: str,
    age_s: int,
    waits: bool,
    weight: Weight,
) -> None:
    case.begin(10)
    task = next(case.tasks("D")).task
    stack = (Frame("io_schedule" if waits else "down_read"),)
    monkeypatch.setattr(case, "backtrace", lambda each: stack if each == task else ())
    monkeypatch.setattr(case, "kind", kind)
    monkeypatch.setattr(case, "number", {"sysctl_hung_task_timeout_secs": 120}.get)
    ages = {"read": 6.0, "write": float(age_s), "flush": 1.0}
    several = [
        requests.Request(n, name, 8 * n, 4096, "in flight", old_s)
        for n, (name, old_s) in enumerate(ages.items(), 1)
    ]
    disk = Object(case.prog, "struct gendisk *", 1)
    (found,) = requests.old_requests(case, "vda", disk, several)
    assert found.weight is weight
    assert found.sentence == (
        f"vda: 2 of 3 requests have waited for up to {age_s} s (write, in flight)"
    )


@pytest.mark.parametrize(
    ("made_s", "timeout_s", "late_s", "age_s"),
    [(94, 30, 0, 6), (0, 30, -24, 6), (0, 30, 9, 39), (0, 0, 9, None), (0, 30, -31, None)],
)
def test_a_request_without_a_time_is_as_old_as_its_deadline_says(
    case: Case, made_s: int, timeout_s: int, late_s: int, age_s: int | None
) -> None:
    moment = Moment(jiffies=5000 * 250, monotonic_ns=100 * NS, hz=250)
    stamps = {"timeout": timeout_s * 250, "deadline": (5000 - late_s) * 250}
    request = Object(case.prog, "struct request", {"start_time_ns": made_s * NS, **stamps})
    assert requests._age_of_request(request, moment) == age_s


def test_a_pool_that_takes_up_no_work_is_told(altered: Callable[..., Case]) -> None:
    case = altered("sysrq")
    work = case.prog["poweroff_work"]
    pool = per_cpu(case.prog["cpu_worker_pools"], 0)[0]
    put(pool.worklist.next, work.entry.address_of_().value_())
    put(work.entry.next, pool.worklist.address_of_().value_())
    stamp = int(pool.watchdog_ts)
    later(case, 60)
    (found,) = look(workqueues, case)
    waited_s = (moment_of(case).jiffies - stamp) / 250
    assert waited_s > 60
    assert found.sentence.startswith(
        f"worker pool {int(pool.id)} of CPU 0 has taken up no work for 1"
    )
    assert "1 pending, first " in found.sentence


def test_timers_that_nobody_serves_are_late(altered: Callable[..., Case]) -> None:
    case = altered("sysrq")
    put(case.prog["jiffies_64"], int(case.prog["jiffies_64"]) + 8 * 250)
    found = look(timers, case)
    assert found
    assert all(each.sentence.startswith("timers of CPU ") for each in found)


@pytest.mark.parametrize(
    ("lines", "stamp"),
    [
        ({}, None),
        ({9.0: "BUG: unable to handle page fault"}, None),
        ({9.0: "Kernel panic - not syncing: Fatal"}, 9.0),
        ({3.0: "BUG: x", 9.0: "Oops: 0002 [#1] SMP", 9.5: "Kernel panic - not syncing: F"}, 9.0),
        ({9.0: "java invoked oom-killer: x", 60.0: "Kernel panic - not syncing: Out of"}, 9.0),
        ({9.0: "BUG: long ago", 600.0: "Kernel panic - not syncing: sysrq"}, 600.0),
        ({9.0: "Kernel panic - not syncing: Fatal", 9.2: "WARNING: CPU: 1 PID: 2"}, 9.0),
    ],
)
def test_a_crash_begins_with_its_report(lines: dict[float, str], stamp: float | None) -> None:
    log = Log("\n".join(f"[{at:12.6f}] {line}" for at, line in lines.items()))
    assert crash_stamp(log) == stamp


@pytest.mark.parametrize(
    ("counts", "late_s", "running", "words"),
    [
        ((308, 313), 3.0, True, "timer storm, or a timer without end: CPU 1 runs timer function "),
        ((308, 313), 3.0, False, "timers of CPU 1 are 3 s late"),
        ((20, 25), 3.0, True, "timers of CPU 1 are 3 s late; timer function "),
        ((308, 900), 3.0, True, "timers of CPU 1 are 3 s late; timer function "),
        ((308, 313), 0.1, True, None),
    ],
)
def test_a_storm_is_of_the_function_that_runs(
    case: Case, counts: tuple[int, int], late_s: float, running: bool, words: str | None
) -> None:
    function = case.prog["process_timeout"].address_ if running else None
    wheel = timers.Wheel(1, 64, late_s, function)
    counted = (Counter({function or 1: counts[0]}), counts[1])
    found = timers.judged_wheel(case, wheel, lambda: counted, 1.0)
    assert (found is None) is (words is None)
    assert found is None or found.sentence.startswith(words or "?")


def test_time_after_the_panic_is_not_counted(altered: Callable[..., Case]) -> None:
    """A guest runs on until somebody takes its dump."""
    before, later = moment_of(altered("sysrq")), altered("sysrq")
    put(later.prog["jiffies_64"], int(later.prog["jiffies_64"]) + MINUTE_S * 250)
    clock = later.prog["tk_core"].timekeeper.tkr_mono.base
    put(clock, int(clock) + MINUTE_S * NS)
    rq = later.run_queue(1)
    put(rq.clock, int(rq.clock) + MINUTE_S * NS)
    after = moment_of(later)
    assert abs(after.jiffies - before.jiffies) < 250
    assert abs(after.monotonic_ns - before.monotonic_ns) < NS
    assert look(timers, later) == () == look(interrupts, later)


def test_a_cpu_without_interrupts_is_told(altered: Callable[..., Case]) -> None:
    case = altered("hard-lockup")
    base = per_cpu(case.prog["hrtimer_bases"], 0)
    put(base.expires_next, moment_of(case).monotonic_ns - 7 * NS)
    (found,) = look(interrupts, case)
    assert found.sentence == "CPU 0 has taken no timer interrupt for 7 s, though it was due"
    assert found.weight is Weight.CAUSE


def test_an_interrupt_that_was_given_up_is_told(altered: Callable[..., Case]) -> None:
    case = altered("sysrq")
    irq, desc = next((irq, each) for irq, each in for_each_irq_desc(case.prog) if each.action)
    state = desc.core_internal_state__do_not_mess_with_it
    put(state, int(state) | interrupts.SPURIOUS_DISABLED)
    (found,) = look(interrupts, case)
    assert found.sentence.startswith(f"interrupt {irq} (") and "switched off" in found.sentence


@pytest.mark.parametrize(
    ("buckets", "clock", "due"),
    [
        ([5], 0, 5),
        ([5], 6, 64 + 5),  # gone round
        ([6], 6, 6),
        ([64 + 3], 0, 3 * 8),  # the second level's are 8 ticks long
        ([64 + 3], 17, 3 * 8),
        ([64 + 3], 25, (64 + 3) * 8),
        ([128 + 1, 9], 0, 9),
        ([128 + 1], 1, 64),
    ],
)
def test_the_wheel_tells_when_its_first_timer_is_due(
    buckets: list[int], clock: int, due: int
) -> None:
    assert next_due(buckets, clock) == due


def test_pending_buckets_are_read_from_the_bitmap() -> None:
    assert pending_buckets([1 << 5 | 1, 0, 1 << 63], 64) == [0, 5, 191]
    assert pending_buckets([1 << 31, 1], 32) == [31, 32]


def commands() -> Iterator[str]:
    yield from (
        "kmem -i",
        "kmem -v",
        "kmem -h",
        "kmem -V",
        "kmem -s kmalloc-1k",
        "kmem -s",
        "ps -G",
        "mount",
    )
    yield from ("timer", "timer -r", "irq 1", "log", "ps 1", "p tick_do_timer_cpu")
    yield from ("p pcpu_nr_populated", "struct super_block.s_writers ", "struct worker_pool.id ")


@pytest.mark.parametrize("command", [*commands()])
def test_the_commands_are_known_to_the_console(
    case: Case, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case.begin(10)
    if command.endswith(" "):
        command += f"{next(super_blocks(case)).value_():x}"
    drgn_commands.run_command_of_crash(case.prog, command)
    assert capsys.readouterr().out
