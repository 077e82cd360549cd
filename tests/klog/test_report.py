"""Task, registers and call traces in the forms of many kernels."""

from __future__ import annotations

import pytest

from cas.klog.lines import Log, parse
from cas.klog.report import facts_of


def functions(text: str, *, is_oops: bool = False) -> list[str]:
    """Of the first trace, beginning with the program counter."""
    traces = facts_of(Log(text)[:], is_oops=is_oops).traces
    return [frame.function for frame in traces[0].stack] if traces else []


TRACES = {
    "x86": "RIP: 0010:f+0x1/0x2 [m]\nCall Trace:\n <TASK>\n ? guess+0x1/0x2\n g+0x1/0x2\n </TASK>",
    "x86 3.10": "RIP: 0010:[<ffffffffa01>]  [<ffffffffa01>] f+0x1/0x2 [m]\n"
    "Call Trace:\n <IRQ>  [<ffffffff81>] ? guess+0x1/0x2\n <EOI>  [<ffffffff82>] g+0x1/0x2",
    "x86 2.6.18": "Unable to handle kernel NULL pointer dereference at 8 RIP: \n"
    " [<ffffffff80>] f+0x1/0x2\nRIP: 0010:[<ffffffff80>]  [<ffffffff80>] f+0x1/0x2\n"
    "Call Trace:\n [<ffffffff80>] g+0x1/0x2",
    "x86 2.6.9": "RIP: 0010:[<ffffffffa0123456>] <ffffffffa0123456>{:m:f+1}\n"
    "Call Trace:<ffffffffa0123500>{:m:g+208} <ffffffff8017a1b0>{vfs_read+207}",
    "x86 2.6.18 with modules": "RIP: 0010:[<ffffffff88>]  [<ffffffff88>] :m:f+0x1/0x2\n"
    "Call Trace:\n [<ffffffff88>] :m:g+0x1/0x2",
    "i686": "EIP is at f+0x1/0x2 [m]\nCall Trace:\n [<f7e4b999>] g+0x1/0x2",
    "arm64": "pc : f+0x1/0x2 [m]\nlr : x+0x1/0x2\nCall trace:\n f+0x1/0x2 [m] (P)\n g+0x1/0x2",
    "arm": "PC is at f+0x1/0x2\nLR is at x+0x1/0x2\n[<c1>] (f) from [<c2>] (g+0x1/0x2)",
    "arm 5.18": "PC is at f+0x1/0x2\n f from g+0x1/0x2\n r7:00000000 r6:00000000",
    "ppc64": "NIP [c000000000111111] f+0x1/0x2\nLR [c000000000222222] x+0x1/0x2\nCall Trace:\n"
    "[c00000003] [c00000004] f+0x1/0x2 (unreliable)\n[c00000005] [c00000006] g+0x1/0x2",
    "s390": "Krnl PSW : 0704c00180000000 000003ff80012345 (f+0x1/0x2 [m])\nCall Trace:\n"
    " [<000003ff80012345>] f+0x1/0x2 [m] \n [<00000000001234ab>] g+0x1/0x2 ",
    "riscv": "epc : f+0x1/0x2\n ra : x+0x1/0x2\nepc : ffffffff80 ra : ffffffff80 sp : ff2\n"
    "[<ffffffff80>] f+0x1/0x2\n[<ffffffff81>] g+0x1/0x2",
    "loongarch": "ERA: 9000000000222222 f+0x1/0x2\nCall Trace:\n[<9000000000222222>] f+0x1/0x2\n"
    "[<9000000000333333>] g+0x1/0x2",
}  # fmt: skip


@pytest.mark.parametrize("arch", TRACES)
def test_a_trace_is_read_from_the_program_counter_on(arch: str) -> None:
    assert functions(TRACES[arch], is_oops=True)[:2] == ["f", "g"]


def test_guesses_count_only_where_nothing_else_is_printed() -> None:
    assert functions("Call Trace:\n ? f+0x1/0x2\n ? g+0x1/0x2") == ["f", "g"]


def test_a_trace_ends_where_user_space_begins() -> None:
    text = "Call Trace:\n f+0x1/0x2\nRIP: 0033:0x47b7a0\n g+0x1/0x2"
    assert functions(text) == ["f"]


def test_the_program_counter_inside_a_trace_is_a_frame_of_it() -> None:
    text = (
        "Call Trace:\n panic+0x1/0x2\n asm_exc_invalid_op+0x1/0x2\nRIP: 0010:f+0x1/0x2\n g+0x1/0x2"
    )
    trace = facts_of(Log(text)[:]).traces[0]
    assert [frame.function for frame in trace.stack][2:] == ["f", "g"]
    assert trace.interrupted == {2}


def test_what_another_processor_prints_before_the_registers_is_no_trace_of_an_oops() -> None:
    text = "Call Trace:\n warn_alloc+0x1/0x2\n" + TRACES["x86"]
    assert functions(text.removeprefix("Call Trace:\n"), is_oops=True)[0] == "f"


def test_who_allocated_the_memory_is_another_trace() -> None:
    text = (
        "Call Trace:\n f+0x1/0x2\nAllocated by task 77:\n kmalloc+0x1/0x2\n"
        "Freed by task 8:\n kfree+0x1/0x2"
    )
    assert [trace.is_foreign for trace in facts_of(Log(text)[:]).traces] == [False, True, True]


def test_lines_of_decode_stacktrace_give_files_and_inlined_functions() -> None:
    text = "Call Trace:\n f fs/x.c:12 [inline]\n g+0x1/0x2 fs/x.c:99\n"
    frames = facts_of(Log("Call Trace:\n d+0x1/0x2\n" + text[12:])[:]).traces[0].frames
    told = [(frame.function, frame.file, frame.line, frame.inlined) for frame in frames[1:]]
    assert told == [("f", "fs/x.c", 12, True), ("g", "fs/x.c", 99, False)]


@pytest.mark.parametrize(
    ("line", "comm", "pid"),
    [
        ("CPU: 1 PID: 9 Comm: my task Not tainted 6.1.0 #1", "my task", 9),
        ("CPU: 1 UID: 0 PID: 9 Comm: dd Tainted: G  W  6.12.0", "dd", 9),
        ("Pid: 4242, comm: httpd Not tainted 2.6.18-194.el5 #1", "httpd", 4242),
        ("Process kjournald (pid: 411, ti=f180c000 task=f2388000)", "kjournald", 411),
        ("task:rsync           state:D stack:0     pid:2211  ppid:1      flags:0x0", "rsync", 2211),
        ("rsync           D    0  2211   2200 0x80004080", "rsync", 2211),
    ],
)
def test_a_task_is_read(line: str, comm: str, pid: int) -> None:
    task = facts_of(Log(f"{line}\nCall Trace:\n f+0x1/0x2")[:]).task
    assert task is not None
    assert (task.comm, task.pid) == (comm, pid)


def test_who_likely_holds_the_lock_is_read() -> None:
    text = "INFO: task a:1 is blocked on a mutex likely owned by task my b:2."
    holder = facts_of(Log(text)[:]).holder
    assert holder is not None
    assert (holder.comm, holder.pid) == ("my b", 2)


@pytest.mark.parametrize(
    ("raw", "uptime_s", "caller"),
    [
        ("[    1.500000] text", 1.5, None),
        ("<6>[    1.500000] text", 1.5, None),
        ("[    1.500000][  T12] text", 1.5, "T12"),
        ("[    1.500000][    C1] text", 1.5, "C1"),
        ("** 9 printk messages dropped ** [    1.500000] text", 1.5, None),
        ("host login: [    1.500000] text", 1.5, None),
        ("[    1.400000] cut off[    1.500000] text", 1.5, None),
        ("6,1234,1500000,-;text", 1.5, None),
        ("6,1234,1500000,-,caller=T12;text", 1.5, "T12"),
        ("Nov 30 06:01:28 host kernel: [    1.500000] text", 1.5, None),
        ("Nov 30 06:01:28 host kernel: text", None, None),
        ("2026-11-30T06:01:28.123456+00:00 host kernel: text", None, None),
        ("[Mon Nov 30 06:01:28 2026] text", None, None),
        ("июл 27 06:01:28 host kernel: text", None, None),
        ("[四 9月 26 06:01:28 2026] text", None, None),
        ("<4>text", None, None),
        # dmesg --show-delta, --reltime, --notime; journalctl -o short-precise, short-full and so on
        ("[    1.500000 <    0.000003>] text", 1.5, None),
        ("[  +0.000139] text", None, None),
        ("[   T12] text", None, "T12"),
        ("[    1.500000] [   T12] text", 1.5, "T12"),
        ("[    1.500000] host kernel: text", 1.5, None),
        ("Nov 30 06:01:28.123456 host kernel: text", None, None),
        ("Mon 2026-11-30 06:01:28 CET host kernel: text", None, None),
        ("kernel: text", None, None),
        # dmesg -x, -H, --time-format iso; journalctl -o short-unix, of consoles' servers and ts
        ("kern  :warn  : [    1.500000] text", 1.5, None),
        ("kern  :warn  : [Mon Nov 30 06:01:28 2026] text", None, None),
        ("[Nov30 06:01] text", None, None),
        ("2026-11-30T06:01:28,123456+00:00 text", None, None),
        ("1796018488.123456 host kernel: text", None, None),
        ("Nov 30 06:01:28 text", None, None),
        # netconsole with the kernel's release; who prints behind a date
        ("6.1.0-13-amd64,6,1234,1500000,-,caller=T12;text", 1.5, "T12"),
        ("[Mon Nov 30 06:01:28 2026] [   T12] text", None, "T12"),
        ("Nov 30 06:01:28 host kernel: [   T12] text", None, "T12"),
        ("[    1.500000] [C12] rxq0: [name:bug&]text", 1.5, "C12"),
        ("text", None, None),
    ],
)
def test_a_stamp_is_taken_off(raw: str, uptime_s: float | None, caller: str | None) -> None:
    assert parse(raw) == ("text", uptime_s, caller)


def test_colours_and_carriage_returns_are_no_part_of_a_log() -> None:
    log = Log("\x1b[32m[    1.500000] \x1b[0m\x1b[31mtext\x1b[0m\r\n")
    assert log[0] == ("text", 1.5, None)


def test_a_decoded_trace_without_offsets_is_read() -> None:
    text = (
        "RIP: 0010:f (net/demo/demo.c:664 (discriminator 1)) demo\nCall Trace:\n <TASK>\n"
        "? guess (kernel/x.c:1)\ninner (\n/net/demo/demo.c:11\n/net/demo/demo.c:12)\n"
        "g (net/demo/demo.c:12) demo\nh (include/net/x.h:3)\n"
    )
    stack = facts_of(Log(text)[:], is_oops=True).traces[0].stack
    assert [(each.function, each.file, each.line, each.kmod) for each in stack] == [
        ("f", "net/demo/demo.c", 664, "demo"),
        ("inner", None, None, None),
        ("g", "net/demo/demo.c", 12, "demo"),
        ("h", "include/net/x.h", 3, None),
    ]


def test_frames_that_nothing_introduces_count_where_there_are_no_others() -> None:
    frames = " f+0x1/0x2 [m]\n g+0x1/0x2\n"
    assert functions(frames, is_oops=True) == ["f", "g"]
    assert functions(f" x+0x1/0x2\n{TRACES['x86']}", is_oops=True) == ["f", "g"]
