"""Kernel logs in the forms in which people keep them."""

from __future__ import annotations

import json

import pytest

from cas.klog.lines import Log
from cas.klog.log_text import (
    arch_of,
    banner_of,
    boots,
    code_places,
    is_kernel_log,
    is_mixed,
    kernel_lines,
    kmods_of_places,
    release_of,
)
from cas.klog.pstore import pstore_part
from cas.model.code import CodePlace
from cas.panic import panic_message

BANNER = "Linux version 6.1.0-13-amd64 (d@b) (gcc-12) #1 SMP PREEMPT_DYNAMIC Debian 6.1.55-1"
OOPS = """\
BUG: kernel NULL pointer dereference, address: 0000000000000018
CPU: 1 PID: 27 Comm: kworker/1:1 Tainted: G           O       6.1.0-13-amd64 #1
RIP: 0010:sum_entries+0x18/0x38 [cas-oops]
Call Trace:
 <TASK>
 process_one_work+0x153/0x1e9
 </TASK>
Kernel panic - not syncing: Fatal exception
"""


def stamped(text: str, first_s: float = 1.0) -> str:
    lines = text.splitlines()
    return "".join(f"[{first_s + n / 1000:12.6f}] {line}\n" for n, line in enumerate(lines))


def exported(text: str) -> bytes:
    """As ``journalctl -o export`` writes it, with an entry of another program before it."""
    entries = [b"__REALTIME_TIMESTAMP=1\n_TRANSPORT=syslog\nMESSAGE=BUG: not the kernel's\n"]
    for number, line in enumerate(text.splitlines()):
        said = line.encode()
        message = b"MESSAGE=" + said
        if number == 0:  # as a field whose text has line ends
            said = b"first\n" + said
            message = b"MESSAGE\n" + len(said).to_bytes(8, "little") + said
        stamp = f"__REALTIME_TIMESTAMP={number}\n_SOURCE_MONOTONIC_TIMESTAMP={number + 5_000_000}\n"
        entries.append(stamp.encode() + b"_TRANSPORT=kernel\n" + message + b"\n")
    return b"\n".join(entries)


def test_the_kernels_lines_are_taken_out_of_an_exported_journal() -> None:
    lines = Log(kernel_lines(exported(OOPS)))
    assert [line.text for line in lines][:3] == ["first", *OOPS.splitlines()[:2]]
    assert lines[1].uptime_s == 5.0
    assert "not the kernel's" not in kernel_lines(exported(OOPS))


def test_an_exported_journal_whose_beginning_is_cut_in_a_line_is_read_from_there() -> None:
    assert kernel_lines(b"cut off\n\n" + exported(OOPS)) == kernel_lines(exported(OOPS))


def test_the_kernels_lines_are_taken_out_of_a_journal_in_json() -> None:
    records = [{"_TRANSPORT": "kernel", "MESSAGE": line} for line in OOPS.splitlines()]
    records.insert(0, {"_TRANSPORT": "stdout", "MESSAGE": "hello"})
    raw = "\n".join(map(json.dumps, records)).encode() + b'\n{"MESSAGE": "cut'
    assert kernel_lines(raw) == OOPS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_editors_encoding_and_line_ends_change_nothing(encoding: str) -> None:
    raw = OOPS.replace("\n", "\r\n").encode(encoding)
    assert kernel_lines(raw) == OOPS


def test_the_head_of_a_part_of_pstore_is_no_line_of_the_kernels() -> None:
    raw = b"Oops#3 Part12\n" + OOPS.encode()
    assert (kernel_lines(raw), pstore_part(raw)) == (OOPS, (3, 12))
    assert pstore_part(OOPS.encode()) is None


def test_each_boot_of_a_log_is_one_of_its_own() -> None:
    first, second = stamped(f"{BANNER}\n{OOPS}"), stamped(f"{BANNER}\nall is well\n", 0.0)
    console = f"login: {first}Booting Linux on physical CPU 0x0\n{second}"
    one, two = boots(console)
    assert (panic_message(one) is not None, panic_message(two)) == (True, None)
    assert two.startswith("Booting Linux")
    assert banner_of(two) == BANNER
    assert boots(OOPS) == (OOPS,)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (OOPS, True),
        (stamped(f"{BANNER}\nall is well"), True),
        ("<6>[    1.000001] a: b\n<6>[    1.000002] c\n<6>[    1.000003] d\n", True),
        ("The log says: BUG: kernel NULL pointer dereference, address: 0000000000000018\n", False),
        ("Dear support,\nthe machine crashed. See the Linux version below.\n", False),
        ("", False),
    ],
)
def test_a_text_in_which_a_kernel_speaks_is_told_from_others(text: str, is_one: bool) -> None:
    assert is_kernel_log(text) is is_one


def test_release_and_build_id_are_those_of_the_last_report() -> None:
    assert release_of(OOPS) == ("6.1.0-13-amd64", None)
    build_id = "0123456789abcdef0123456789abcdef01234567"
    later = f"CPU: 0 UID: 0 PID: 1 Comm: a b Not tainted 6.12.0-rc1+ #7 {build_id}\n"
    assert release_of(OOPS + later) == ("6.12.0-rc1+", build_id)
    assert release_of("no report") == (None, None)


@pytest.mark.parametrize(
    ("line", "arch"),
    [
        ("RIP: 0010:f+0x1/0x2", "x86_64"),
        ("EIP: 0060:[<c1000000>] EFLAGS: 00010246 CPU: 0", "i686"),
        ("pstate: 60000005 (nZCv daif -PAN -UAO -TCO BTYPE=--)", "aarch64"),
        ("epc : ffffffff80012345 ra : ffffffff80054321 sp : ff20000000000000", "riscv64"),
        ("Krnl PSW : 0704c00180000000 000000001e2a4f3c (f+0x1/0x2)", "s390x"),
        ("BE PAGE_SIZE=64K MMU=Radix SMP", None),
        ("LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=2048 NUMA pSeries", "ppc64le"),
    ],
)
def test_the_architecture_is_told_by_what_only_one_prints(line: str, arch: str | None) -> None:
    assert arch_of(line, None, None) == arch


def test_the_architecture_may_stand_in_the_kernels_name() -> None:
    assert arch_of("", BANNER, "6.1.0-13-amd64") == "x86_64"
    assert arch_of("", None, "5.14.0-427.el9.aarch64") == "aarch64"
    assert arch_of("", None, "6.6.0") is None


def test_places_in_the_code_have_their_size_and_kmod() -> None:
    last = " f.cold+0x1/0x2 [ext4 0123456789ab]\n"
    text = f"{last}{OOPS} vfs_read+0x10/0x20\n vfs_read+0x10/0x20\n{last}"
    assert code_places(text) == (
        CodePlace("f.cold", 1, 2, "ext4"),
        CodePlace("vfs_read", 16, 32),
        CodePlace("process_one_work", 0x153, 0x1E9),
        CodePlace("sum_entries", 24, 0x38, "cas_oops"),
    )
    assert kmods_of_places(text) == {"cas_oops": None, "ext4": "0123456789ab"}


@pytest.mark.parametrize(
    "line",
    [
        "Linux version 5.10 or later is needed.",
        '[    12.345] (II) LoadModule: "glx"',  # an X server's
        '{"a": [1.25], "b": 2}',
        "name,[2.5],3",
    ],
)
def test_what_only_looks_like_a_banner_or_a_stamp_makes_no_kernel_log(line: str) -> None:
    assert not is_kernel_log(f"{line}\n" * 10)
    assert boots(f"{line}\n" * 2) == (f"{line}\n" * 2,)


@pytest.mark.parametrize("digits", [19, 400, 5000])
def test_a_journal_with_absurd_numbers_keeps_its_text(digits: int) -> None:
    stamp = "9" * digits
    record = {"_TRANSPORT": "kernel", "MESSAGE": "hi", "__MONOTONIC_TIMESTAMP": stamp}
    assert kernel_lines(json.dumps(record).encode()) == "hi\n"
    export = "".join(f"{name}={value}\n" for name, value in record.items())
    assert kernel_lines(f"__REALTIME_TIMESTAMP=1\n{export}".encode()) == "hi\n"


def test_a_journal_in_json_is_one_though_its_beginning_is_cut_or_nested_deeply() -> None:
    record = json.dumps({"_TRANSPORT": "kernel", "MESSAGE": "hi"})
    nested = '{"MESSAGE": ' + "[" * 200_000
    raw = f'SAGE": "cut"}}\n{record}\n{nested}\n{record}\n'.encode()
    assert kernel_lines(raw) == "hi\nhi\n"


def test_a_boot_without_banner_begins_where_the_time_falls() -> None:
    calm = "".join(f"line {n}\n" for n in range(60))
    first, second = stamped(OOPS, 5000.0), stamped(calm + OOPS, 12.0)
    assert boots(first + second) == (first, second)
    netconsole = [f"6,{n},{5_000_000_000 - n * 4_000_000_000},-;line {n}\n" for n in range(2)]
    assert boots("".join(netconsole)) == tuple(netconsole)
    released = [f"6.1.0-13-amd64,{line}" for line in netconsole]
    assert boots("".join(released)) == tuple(released)


@pytest.mark.parametrize(
    ("names", "is_so"),
    [("aaaa", False), ("aabb", False), ("abab", True)],  # the second is named while it boots
)
@pytest.mark.parametrize(
    "prefix", ["Nov  1 10:00:00", "2026-11-01T10:00:00+01:00", "[    1.000000]"]
)
@pytest.mark.parametrize("said", ["kernel: hello", "[    1.000000] hello"])
def test_machines_in_one_syslog_are_told_by_their_names(
    names: str, is_so: bool, prefix: str, said: str
) -> None:
    log = "".join(f"{prefix} {name} {said}\n" for name in names)
    assert is_mixed(log) is is_so


def test_a_heading_before_the_banner_is_no_boot_and_colours_hide_none() -> None:
    log = stamped(f"{BANNER}\nx\n{OOPS}", 0.0)
    assert boots(f"# dmesg\n{log}") == (f"# dmesg\n{log}",)
    coloured = "".join(f"\x1b[32m{line}\x1b[0m\x1b[K\n" for line in log.splitlines())
    assert banner_of(kernel_lines(f"\x1b[2J\x1b[01;01H{coloured}".encode())) == BANNER


def test_what_the_kernel_says_before_its_banner_is_of_the_same_boot() -> None:
    first, second = stamped(OOPS, 50.0), stamped(f"Initializing cgroup subsys cpu\n{BANNER}\n", 0.0)
    assert boots(first + second) == (first, second)


def test_two_machines_in_one_log_and_clocks_that_differ_are_no_boots() -> None:
    one, other = stamped(OOPS, 5000.0).splitlines(True), stamped(OOPS, 12.0).splitlines(True)
    mixed = "".join(a + b for a, b in zip(one, other, strict=True))
    late = "[ 5000.000000] a\n[ 4997.000000] b\n[ 4997.100000] c\n"
    assert (boots(mixed), boots(late)) == ((mixed,), (late,))
    assert (is_mixed(mixed), is_mixed(late), is_mixed(stamped(OOPS))) == (True, False, False)


@pytest.mark.parametrize(
    ("banner", "arch"),
    [
        ("Linux version 6.1.0 (b@x86-64-01) (aarch64-linux-gnu-gcc 12) #1 SMP", None),
        ("Linux version 6.1.0 (b@host) (aarch64-linux-gnu-gcc 12) #1 SMP", "aarch64"),
    ],
)
def test_a_banner_that_names_two_architectures_tells_none(banner: str, arch: str | None) -> None:
    assert arch_of("", banner, "6.1.0") == arch
    assert arch_of("", banner, "6.1.0-2.el9.s390x") == "s390x"


@pytest.mark.parametrize("form", ["{}\n", "data: {}\n\n", "\x1e{}\n"])
@pytest.mark.parametrize("indent", [None, "\t"])
def test_each_form_of_json_that_a_journal_is_written_in_is_read(
    form: str, indent: str | None
) -> None:
    records = [{"_TRANSPORT": "kernel", "MESSAGE": line} for line in OOPS.splitlines()]
    raw = "".join(form.format(json.dumps(each, indent=indent)) for each in records)
    assert kernel_lines(raw.encode()) == OOPS


def test_a_message_of_a_journal_that_is_no_text_is_read_by_its_bytes() -> None:
    record = {"_TRANSPORT": "kernel", "MESSAGE": [104, 105, 255]}
    assert kernel_lines(json.dumps(record).encode()) == "hi\udcff\n"


def test_json_in_a_console_makes_no_journal_of_it() -> None:
    log = stamped(OOPS) + '{"MESSAGE": "of a program"}\n'
    assert kernel_lines(log.encode()) == log


@pytest.mark.parametrize(
    "date", ["[2024-01-01 10:00:00] ", "[2024-01-01T10:00:00.123+01:00] ", "[10:00:00]",
             "[Tue Nov 21 10:00:00 2026]"],
)  # fmt: skip
def test_the_date_that_a_consoles_server_writes_before_each_line_is_taken_off(date: str) -> None:
    log = stamped(OOPS)
    assert kernel_lines("".join(f"{date}{line}" for line in log.splitlines(True)).encode()) == log
    dated = "[Tue Nov 21 10:00:00 2026] no stamp of the kernel's\n"
    assert kernel_lines(dated.encode()) == dated


def test_lines_may_end_with_a_carriage_return_alone() -> None:
    assert kernel_lines(OOPS.replace("\n", "\r").encode()) == OOPS


def wrapped(text: str, width: int) -> str:
    """As a terminal shows it."""
    lines = text.split("\n")
    return "\n".join(
        line[at : at + width] for line in lines for at in range(0, max(len(line), 1), width)
    )


@pytest.mark.parametrize("width", [80, 132])
def test_lines_that_a_terminal_broke_are_put_together_again(width: int) -> None:
    text = stamped(f"Modules linked in: {'cas_oops ' * 40}\n{OOPS}")
    assert wrapped(text, width) != text
    assert kernel_lines(wrapped(text, width).encode()) == text


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_place_in_the_code_that_is_cut_at_the_edge_is_whole_without_stamps(cut: int) -> None:
    """Unless it may have ended there."""
    place = " worker_thread+0x18/0x38 [cas_oops]"
    row = "x" * (80 - cut - place.index("+")) + place
    text = f"Oops: 0000 [#1] SMP\n{wrapped(row, 80)}\nCall Trace:\n"
    assert (row in kernel_lines(text.encode())) == (cut <= 8)
    assert kernel_lines(text.encode()).endswith("\nCall Trace:\n")


def test_dates_begin_lines_as_stamps_do_where_a_terminal_broke_them() -> None:
    text = "".join(f"Nov 21 08:41:29 host kernel: {'y' * n} memcmp+0x1/0x2\n" for n in (20, 36, 60))
    assert kernel_lines(wrapped(text, 80).encode()) == text


def test_no_rest_of_a_functions_name_is_taken_for_a_function() -> None:
    row = f"{'x' * 77} memcmp+0xe3/0x130"
    assert row in kernel_lines(f"Oops\n{wrapped(row, 80)}\nCall Trace:\n".encode())


def test_a_log_that_two_programs_wrote_into_one_file_is_read_once() -> None:
    text = f"{OOPS}{OOPS}".replace("Call Trace", "f+0x1/0x2\n f+0x1/0x2\nCall Trace")
    twice = "".join(f"{line}\n" * 2 for line in text.splitlines())
    assert kernel_lines(twice.encode()) == text
    recursion = OOPS + " f+0x1/0x2\n" * 60
    assert kernel_lines(recursion.encode()) == recursion
    few = OOPS.splitlines()[:2]
    for lines in (few, [*OOPS.splitlines(), *(f"line {n}" for n in range(400))]):
        doubled = "".join(f"{line}\n" * (1 + (n < 30)) for n, line in enumerate(lines))
        assert kernel_lines(doubled.encode()) == doubled


def test_no_line_goes_on_for_more_rows_than_printk_makes() -> None:
    rows = "".join(f"{'z' * 80}\n" for _ in range(60))
    text = f"{wrapped(stamped(OOPS), 80)}[   21.000000] {'y' * 65}\n{rows}"
    assert max(map(len, kernel_lines(text.encode()).splitlines())) == 16 * 80


def test_full_lines_that_nothing_says_go_on_are_left_alone() -> None:
    text = f"{'a' * 80}\nb\n{'c' * 80}\nabc\n"
    assert kernel_lines(text.encode()) == text
