"""Advice: data of which every sentence is reachable, and names only what is known."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cas.choices import Cause, DetectorStatus, Kind, Weight
from cas.files.shipped import shipped
from cas.findings import advised, crash_of, find
from cas.findings.advice import FOLDER, STEPS_LIMIT, BadAdvice, read_advice, shipped_advice
from cas.model.code import Frame
from cas.model.dump import Dump, Missing
from cas.model.evidence import Detection, Evidence
from cas.model.kernel import Kernel, Match

ROOT = Path(__file__).parents[2]
DUMP = Dump(Path("vmcore"), "ELF", 1 << 20, "x86_64", osrelease="6.1.0", build_id="ab" * 20)
MATCH = Match(Kernel("6.1.0", "x86_64", Path("k.rpm"), "vmlinux"), "build-id", "equal")
SYSRQ = "[ 900.0] sysrq: Trigger a crash\n"
OOPS = """\
[ 900.000000] BUG: unable to handle page fault for address: {address}
[ 900.000001] Oops: 0000 [#1] SMP
[ 900.000002] CPU: 1 PID: 23 Comm: cat {taint} 6.1.0 #1
[ 900.000003] RIP: 0010:{function}
[ 900.000004] Call Trace:
[ 900.000005]  vfs_read+0x18/0x2c
[ 900.000006] Modules linked in: demo(OE) ext4
[ 900.000007] ---[ end trace 0000000000000000 ]---
"""
HUNG = """\
[ 800.000000] INFO: task cat:62 blocked for more than 120 seconds.
[ 800.000001] Call Trace:
[ 800.000002]  schedule+0x55/0xa0
[ 800.000003]  demo_read+0x18/0x2c
[ 800.000004] INFO: task cat:62 is blocked on a mutex likely owned by task rsync:61.
"""
PAGE_FAULT = OOPS.format(address="ffffdead00001000", taint="Not tainted", function="f+0x1/0x2")
KASAN = "[ 900.0] BUG: KASAN: slab-use-after-free in demo_poke+0x10/0x20 [demo]\n"
MEMORY = "[ 900.0] Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled\n"
PROTECTION = (
    "[ 900.0] general protection fault, probably for non-canonical address 0x6b6b6b6b6b6b6b6b\n"
)
LOGS = [
    PAGE_FAULT,
    PAGE_FAULT.replace("900", "100") + PAGE_FAULT,
    HUNG.replace("800", "100") + SYSRQ,
    HUNG,
    OOPS.format(address="ffffdead00001000", taint="Tainted: G M B OE", function="g+0x1/0x2 [demo]"),
    "[ 10.0] mce: [Hardware Error]: Machine check events logged\n" + PAGE_FAULT,
    "[ 800.0] nfs: server fs1 not responding, still trying\n" + SYSRQ,
    "[ 800.0] I/O error, dev sda, sector 8\n" + SYSRQ,
    "[ 899.0] list_del corruption, f->next is dead000000000100\n"
    "[ 900.0] kernel BUG at lib/list_debug.c:47!\n[ 900.1] Modules linked in: demo(OE) ext4\n",
    KASAN,
    "[ 900.0] BUG kmalloc-128 (Tainted: G           O     ): Object already free\n"
    "[ 900.1] Kernel panic - not syncing: panic_on_taint set ...\n",
    "[ 900.0] BUG: KASAN: null-ptr-deref in demo_poke+0x10/0x20\n",
    "[ 900.0] BUG: soft lockup - CPU#1 stuck for 22s! [insmod:99]\n",
    "[ 900.0] Watchdog detected hard LOCKUP on cpu 3\n",
    "[ 900.0] INFO: rcu_sched self-detected stall on CPU\n",
    MEMORY,
    "[ 900.0] Kernel panic - not syncing: Fatal Machine check\n",
    "[ 900.0] Kernel panic - not syncing: NMI: Not continuing\n",
    "[ 900.0] Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: f\n",
    "[ 900.0] Kernel panic - not syncing: corrupted stack end detected inside scheduler\n",
    "[ 900.0] PANIC: double fault, error_code: 0x0\n",
    "[ 900.0] kernel BUG at fs/demo/inode.c:321!\n",
    "[ 900.0] divide error: 0000 [#1] SMP\n",
    "[ 900.0] BUG: kernel NULL pointer dereference, address: 0000000000000008\n",
    PROTECTION,
    "[ 900.0] eth0: all is well\n",
    "[ 900.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n",
]


SENTENCES = {
    "locks": [
        "DEADLOCK: held-ab waits for mb → held-ba waits for ma",
        "DEADLOCK: cache-flusher waits for cas_cache, which it has itself",
        "2 tasks wait for mutex cas_m, which sleeper (pid 48) has",
        "requester (pid 48) has waited 3.7 s for completion cas_request.done; it is not completed"
        " (done 0)",
        "slot-taker (pid 48) has waited 3.9 s for semaphore cas_slots; its count is 0, and the"
        " kernel keeps no owner of a semaphore",
    ],
    "spinlocks": ["CPU 1 spins for spinlock cas_table, which CPU 0 has"],
    "requests": ["vda: 3 requests wait for up to 12 s (read, started)"],
    "rpc": ["2 requests to the nfs server fs1 have no answer, the oldest for 9 s: READ"],
    "file_systems": ["ext2 on /mnt is frozen"],
    "workqueues": [
        "work cas_drain of cas_queue has slept for 9 s in kworker/0:1",
        "worker pool 2 of CPU 1 has taken up no work for 3.5 s: 2 pending, first cas_update_leds",
    ],
    "runqueues": [
        "kworker/1:1 (pid 27) could run and has waited 4.1 s for CPU 1, on which sh (pid 46) runs"
        " with real-time priority 50",
    ],
    "memory": [
        "slab cas_ledger holds 80.0 MiB of 120.0 MiB, 67 %",
        "task tail (pid 46) holds 102.6 MiB of 113.6 MiB, 90 %",
        "the tmpfs at /mnt holds 101.9 MiB of 113.6 MiB, 90 %",
        "pages that none of the kernel's counters has (a driver's, a balloon's) hold 100.6 MiB of"
        " 113.6 MiB, 89 %",
        "cas_keep_block [cas_crashes] by vmalloc holds 101.8 MiB of 113.6 MiB, 90 %",
    ],
    "memory_groups": ["cgroup /batch reached its limit of 24.0 MiB (it uses 24.0 MiB)"],
    "fault": [
        "rdi is 0xffff92b680a582a0, which differs in bit 42 alone from 0xffff96b680a582a0 (in rdx),"
        " a live pointer to slab object kmalloc-32+0x0: a bit may have flipped",
        "the function called through cas_hook (int (*)(int)) is 0xffffffffc005f000, where kernel"
        " modules are loaded, but none is now; the last one that was unloaded is cas_gone",
        "rdi is LIST_POISON1, which list_del() leaves in an entry that it removed: its `next`",
        "order->account (struct cas_account *, rdi) is the pattern of freed slab memory (6b,"
        " POISON_FREE): the struct cas_order at 0xffff899a00ece800 was freed",
    ],
    "timers": ["timer storm: 400 of the 410 timers of CPU 0 run cas_tick, all due within 1 s"],
}


def detections(*causes: tuple[str, str]) -> list[Detection]:
    """As if detectors had found what explains the crash."""
    return [
        Detection(name, name, DetectorStatus.OK, (Evidence(said, "s", "c", Weight.CAUSE),))
        for name, said in causes
    ]


def steps_with(log: str, *causes: tuple[str, str]) -> tuple[str, ...]:
    dump = replace(DUMP, dmesg=log)
    return advised(
        find(dump, None, MATCH), crash_of(dump, None), dump, MATCH, detections(*causes)
    ).next_steps


def steps(log: str, dump: Dump = DUMP, match: Match | None = MATCH) -> tuple[str, ...]:
    return find(replace(dump, dmesg=log), None, match).next_steps


def form(say: str) -> re.Pattern[str]:
    return re.compile(".+".join(re.escape(part) for part in re.split(r"\{\w+\}", say)))


def test_every_sentence_is_given_of_some_crash() -> None:
    damaged = replace(DUMP, missing=(Missing("declares 8 GiB, data ends at 3", 1, Cause.CUT),))
    given = [step for log in LOGS for step in steps(log)]
    given += [
        step
        for name, said in SENTENCES.items()
        for sentence in said
        for step in steps_with(HUNG, (name, sentence))
    ]
    given += [*steps(SYSRQ, match=None), *steps(SYSRQ, damaged)]
    reached = {each.say for each in shipped_advice() if any(map(form(each.say).match, given))}
    assert {each.say for each in shipped_advice()} - reached == set()
    assert not any("{" in step for step in given)
    assert max(len(steps(log)) for log in LOGS) <= STEPS_LIMIT


def test_every_kind_of_crash_that_has_one_sentence_has_no_other() -> None:
    kinds = [tuple(when.kind) for each in shipped_advice() for when in each.tables]
    alone = [kind for one in kinds if len(one) == 1 for kind in one]
    assert set(alone) >= set(Kind) - {
        Kind.PAGE_FAULT,
        Kind.OOPS,
        Kind.WARNING,
        Kind.MEMORY_ERROR,
    }


def test_commands_stand_behind_the_sentence() -> None:
    hung, first = steps(HUNG)[:2]
    assert hung == "the kernel believes that rsync (pid 61) holds the lock: read its stack first"
    assert first.endswith("inflight I/O, disks and mounts (cas debug: foreach UN bt; mount)")


def test_of_much_advice_the_most_useful_is_given() -> None:
    log = "[ 800.0] EDAC MC0: 1 UE memory read error on DIMM_A1\n"
    log += PAGE_FAULT.replace("900", "890")
    log += OOPS.format(address="8", taint="Tainted: G M B OE", function="g+0x1/0x2 [demo]")
    damaged = replace(DUMP, missing=(Missing("declares 8 GiB, data ends at 3", 1, Cause.CUT),))
    given = steps(log, damaged, match=None)
    assert [each.split(" ")[0] for each in given[:3]] == ["needed:", "ask", "1"]
    assert len(given) == STEPS_LIMIT
    rest = steps(log)
    assert [each for each in rest if each not in given] == [rest[-1]]


def test_what_came_before_is_a_reason_for_advice_for_an_hour() -> None:
    error = "[ 100.0] EDAC MC0: 1 UE memory read error on DIMM_A1\n"
    said = "the hardware had reported an error before: EDAC MC0: 1 UE memory read error on DIMM_A1;"
    assert steps(error + PAGE_FAULT)[0].startswith(said)
    late = PAGE_FAULT.replace("900", "9000")
    assert not any("hardware" in step for step in steps(error + late))


def test_what_the_dump_shows_takes_the_place_of_what_was_to_be_looked_for() -> None:
    blind, general = steps(HUNG)[:2]
    assert blind.startswith("the kernel believes that rsync (pid 61) holds the lock")
    assert general.startswith("see what the blocked task waits for")
    circle, owner = SENTENCES["locks"][0], SENTENCES["locks"][2]
    (first, *others) = steps_with(HUNG, ("locks", circle), ("locks", owner))
    assert first.startswith("settle one order of the locks of the circle")
    assert not {blind, general} & set(others)
    assert not any("the task that has the lock" in step for step in others)
    (first, *_) = steps_with(HUNG, ("locks", owner))
    assert first.startswith("read the stack of the task that has the lock")


READER = "2 tasks wait for rwsem cas_map; 1 reader has it, and walker (pid 47) took it last"


@pytest.mark.parametrize(
    ("log", "cause", "given", "not_given"),
    [
        (HUNG, ("locks", READER), "read the stack of the task that has the lock", "see what"),
        (HUNG, ("locks", SENTENCES["locks"][3]), "what the task waits for was never", "see what"),
        (HUNG, ("locks", SENTENCES["locks"][4]), "a semaphore is not given back", "read the stack"),
        (HUNG, ("runqueues", SENTENCES["runqueues"][0]), "a real-time task keeps", "see what"),
        (HUNG, ("workqueues", SENTENCES["workqueues"][1]), "find what keeps", "read the stack"),
        (MEMORY, ("memory", SENTENCES["memory"][2]), "delete what that tmpfs", "memory ran out"),
        (MEMORY, ("memory_groups", SENTENCES["memory_groups"][0]), "a memory cgroup", "memory ran"),
        (PROTECTION, ("fault", SENTENCES["fault"][2]), "an entry was used", "an address that no"),
        (PROTECTION, ("fault", SENTENCES["fault"][3]), "slub_debug was on", "memory was overwr"),
    ],
)
def test_advice_fits_the_evidence(
    log: str, cause: tuple[str, str], given: str, not_given: str
) -> None:
    told = steps_with(log, cause)
    assert any(step.startswith(given) for step in told)
    assert not any(step.startswith(not_given) for step in told)


def test_evidence_that_is_only_context_changes_no_advice() -> None:
    dump = replace(DUMP, dmesg=HUNG)
    finding = find(dump, None, MATCH)
    (found,) = detections(("locks", SENTENCES["locks"][0]))
    (evidence,) = found.evidence
    found = replace(found, evidence=(replace(evidence, weight=Weight.CONTEXT),))
    assert advised(finding, crash_of(dump, None), dump, MATCH, [found]) == finding


def test_the_detectors_that_advice_names_exist() -> None:
    named = {name for each in shipped_advice() for when in each.tables for name in when.cause}
    # the fault itself is evidence, too
    assert named <= {"fault"} | {path.stem for path in (ROOT / "cas/detectors").glob("*.py")}


def test_a_corrected_error_is_no_verdict_on_the_hardware() -> None:
    error = "[ 890.0] EDAC MC0: 1 CE memory read error on DIMM_A1\n"
    assert not any("hardware" in step for step in steps(error + PAGE_FAULT))


def test_the_function_at_fault_is_named_of_the_kernel_only() -> None:
    assert steps(PAGE_FAULT)[-1] == "look for a fix in later kernels: changes of f"
    module = OOPS.format(address="8", taint="Not tainted", function="g+0x1/0x2 [ext4]")
    assert Frame("g", 1, kmod="ext4").kmod
    assert not any("look for a fix" in step for step in steps(module))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[advice]]\nsay = 1\n", "Expected `str`, got `int`"),
        ('[[advice]]\nsay = "a"\n[advice.when]\nkinds = ["nmi"]\n', "unknown field `kinds`"),
        ('[[advice]]\nsay = "a"\n[advice.when]\nkind = ["nmmi"]\n', "Invalid enum value 'nmmi'"),
        ('[[advice]]\nsay = "look at {x}"\n', "there is no fact x: look at {x}"),
        ('[[advice]]\nsay = "look at {line}"\n', "{line} needs the condition before"),
        ('[[advice]]\nsay = "a"\n[advice.when]\nmessage = "("\n', "missing )"),
        ("[[advice]\n", "Expected ']]'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(BadAdvice, match=r"a\.toml: .*" + re.escape(why)):
        read_advice(tmp_path / "a.toml")


def test_the_shipped_advice_is_whole() -> None:
    assert len(shipped_advice()) > 30
    assert [path.suffix for path in shipped(FOLDER).iterdir()] == [".toml"]
