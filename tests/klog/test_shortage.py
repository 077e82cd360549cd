"""Who has the memory by the log's own report: logs of real kernels, and tables of older ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.choices import Kind, Weight
from cas.findings import detections_of_log
from cas.klog.lines import Log
from cas.klog.oom_report import largest_holders, last_shortage
from cas.model.dump import Dump
from cas.model.evidence import Detection

LOGS = Path(__file__).with_name("shortages")
OLD_TABLE = "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name"


def judged(dmesg: str, kind: Kind = Kind.OUT_OF_MEMORY) -> tuple[Detection, ...]:
    return detections_of_log(Dump(Path("vmcore"), "ELF", 1, "x86_64", dmesg=dmesg), kind)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("slab-6.1", "slab cas_record holds 98.9 MiB of 113.6 MiB, 87 %"),
        ("task-6.12", "task tail (pid 185) holds 410.4 MiB of 464.6 MiB, 88 %"),
        ("task-5.10", "task tail (pid 124) holds 424.8 MiB of 475.5 MiB, 89 %"),
        ("tmpfs-6.12", "shared memory and tmpfs holds 344.9 MiB of 464.6 MiB, 74 %"),
        (
            "cgroup-5.10",
            "cgroup /app.slice/x reached its limit of 64.0 MiB (it uses 63.9 MiB)",
        ),
    ],
)
def test_the_log_names_the_eater(name: str, sentence: str) -> None:
    (found,) = judged((LOGS / f"{name}.log").read_text())
    (evidence,) = found.evidence
    assert (evidence.sentence, evidence.weight) == (sentence, Weight.CAUSE)
    assert " invoked oom-killer: " in evidence.source


def test_nothing_is_said_of_another_crash_or_another_log() -> None:
    said = (LOGS / "task-5.10.log").read_text()
    assert judged(said, Kind.NULL_DEREFERENCE) == ()
    assert judged("") == judged("[    1.000000] Kernel panic - not syncing: Out of memory") == ()
    # without the machine's counters no share can be told
    rows = [line for line in said.splitlines() if "pages RAM" not in line]
    assert judged("\n".join(rows)) == ()


def log(*rows: str, shmem: int = 10, ram: int = 100_000) -> Log:
    lines = (
        "java invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=0",
        f" free:100 shmem:{shmem} slab_unreclaimable:500",
        f"{ram} pages RAM",
        "0 pages reserved",
        OLD_TABLE,
        *rows,
        "Out of memory: Kill process 9 (x) score 1 or sacrifice child",
        "[    7]     0     7   90000    99999      10       3        0             0 after",
    )
    return Log("\n".join(lines))


@pytest.mark.parametrize(
    ("rss", "shmem", "told"),
    [
        (60_000, 10, ["task my task (pid 9)"]),
        (20_000, 10, []),
        # what is resident may be memory that all share
        (60_000, 50_000, ["shared memory and tmpfs"]),
        (200_000, 10, []),  # more than there is
    ],
)
def test_an_old_table_is_read_with_care(rss: int, shmem: int, told: list[str]) -> None:
    row = f"[    9]    26     9    80000    {rss}      20       3        0          -900 my task"
    found = last_shortage(log(row, "[   10]  broken", shmem=shmem), page_size=4096)
    assert found is not None
    assert [(task.pid, task.comm) for task in found.tasks] == [(9, "my task")]
    assert [what for what, _, _ in largest_holders(found)] == told


def test_the_newest_of_several_reports_counts() -> None:
    older = (LOGS / "slab-6.1.log").read_text()
    newer = (LOGS / "task-6.12.log").read_text()
    (found,) = judged(older + newer)
    assert found.evidence[0].sentence.startswith("task tail (pid 185)")


def test_a_group_of_an_older_kernel_is_known() -> None:
    found = last_shortage(
        Log(
            "sh invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\n"
            "Task in /docker/ab killed as a result of limit of /docker\n"
            "memory: usage 2048kB, limit 2048kB, failcnt 7"
        )
    )
    assert found is not None
    assert (found.group, found.limit) == ("/docker", 2 << 20)
