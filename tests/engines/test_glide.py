"""The deep trace of the shipped dump, as drgn's process tells it."""

from __future__ import annotations

import lzma
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cas.engines.drgn.child.glide.modules import Source
from cas.engines.drgn.child.glide.trace import Glide, Wanted
from cas.engines.drgn.child.limits import raise_late_on_alarm
from cas.engines.drgn.child.target import File, Request, Target
from cas.engines.drgn.glide import GlideModule, GlideOrder, glide_modules
from cas.engines.drgn.process import Worker
from cas.files.shipped import shipped
from cas.model.case import Case
from cas.supervise import Confinement

from installed import FIXTURES, needs

Record = dict[str, Any]
Ask = Callable[..., list[Record]]


@pytest.fixture(scope="module")
def ask(
    opened: Case, kmods: Mapping[str, Path], make_room: Callable[..., Confinement]
) -> Iterator[Ask]:
    """The records of a trace, ``ask(tasks="cpus")``; the sources of modules by their names."""
    with Worker(make_room()) as worker:

        def records(modules: Mapping[str, str] | None = None, **order: Any) -> list[Record]:
            written = tuple(
                GlideModule(name, Path(f"{name}.py"), text)
                for name, text in (modules or {}).items()
            )
            worker.open(replace(opened, kmods=kmods))
            return list(worker.glide(GlideOrder(modules=written, **order)))

        yield records


@pytest.fixture(scope="module")
def trace(ask: Ask) -> list[Record]:
    return ask()


def of_kind(records: list[Record], kind: str) -> list[Record]:
    return [record for record in records if record["kind"] == kind]


def frames_of(records: list[Record], pid: int) -> list[Record]:
    """The frames behind a task."""
    (at,) = (n for n, one in enumerate(records) if one["kind"] == "task" and one["pid"] == pid)
    found = []
    for record in records[at + 1 :]:
        if record["kind"] != "frame":
            break
        found.append(record)
    return found


def panic_frames(records: list[Record]) -> dict[str, Record]:
    pid = next(one["pid"] for one in records if one["kind"] == "task")
    return {record["function"]: record for record in frames_of(records, pid)}


def variable(frame: Record, name: str) -> Record:
    (found,) = (one for one in frame["variables"] if one["name"] == name)
    return found


def member(value: Record, *path: str) -> Record:
    for name in path:
        (value,) = (one for one in value["members"] if one["name"] == name)
    return value


def test_the_panic_task_comes_first_then_the_cpus_then_who_is_blocked(trace: list[Record]) -> None:
    tasks = of_kind(trace, "task")
    roles = [task["role"] for task in tasks]
    assert roles[:3] == ["panic", "cpu", "blocked"]
    assert set(roles[3:]) == {"other"}
    assert tasks[0]["comm"].startswith("kworker/1:")
    assert (tasks[1]["pid"], tasks[1]["comm"]) == (0, "swapper/0")


def test_the_same_stack_stands_there_once_with_all_who_have_it(trace: list[Record]) -> None:
    tasks, end = of_kind(trace, "task"), trace[-1]
    assert end["kind"] == "end" and end["cut"] is None
    assert end["tasks"] == sum(1 + len(task["alike"]) for task in tasks) > len(tasks) + 10
    pids = [one["pid"] for task in tasks for one in (task, *task["alike"]) if one["pid"]]
    assert len(pids) == len(set(pids))


def test_a_stack_ends_where_the_task_entered_the_kernel(trace: list[Record]) -> None:
    assert all(int(frame["pc"], 16) for frame in of_kind(trace, "frame"))
    blocked = next(task for task in of_kind(trace, "task") if task["role"] == "blocked")
    assert frames_of(trace, blocked["pid"])[-1]["function"] == "entry_SYSCALL_64"


@pytest.mark.parametrize(
    ("which", "roles"),
    [("panic", {"panic"}), ("cpus", {"panic", "cpu"}), ("blocked", {"blocked"}), ("1", {"other"})],
)
def test_only_the_tasks_that_are_asked_for_are_told(ask: Ask, which: str, roles: set[str]) -> None:
    assert {task["role"] for task in of_kind(ask(tasks=which), "task")} == roles


def test_a_frame_has_its_kmod_place_and_what_is_inlined(trace: list[Record]) -> None:
    frames = panic_frames(trace)
    inlined, own = frames["cas_balance"], frames["cas_sum_entries"]
    assert (inlined["inlined"], inlined["kmod"], inlined["offset"]) == (True, "cas_oops", None)
    assert (own["inlined"], own["offset"], own["size"]) == (False, 0x18, 0x38)
    assert (inlined["file"], inlined["line"]) == ("drivers/cas/cas_oops.c", 63)


def test_an_exception_is_marked_where_its_frames_begin_with_its_registers(
    trace: list[Record],
) -> None:
    frames = panic_frames(trace)
    assert [name for name, one in frames.items() if one["is_exception"]] == ["cas_balance"]
    registers = frames["cas_sum_entries"]["registers"]
    assert registers["rip"] == frames["cas_sum_entries"]["pc"]
    assert registers["rbx"] == variable(frames["cas_balance"], "entry")["value"]


def test_what_a_pointer_leads_to_is_told_once(trace: list[Record]) -> None:
    frames = panic_frames(trace)
    ledger = variable(frames["cas_sum_entries"], "ledger")
    assert (ledger["note"], "above" in ledger) == ("cas_ledger", False)
    assert variable(frames["cas_audit_ledger"], "ledger")["above"] == "#10.ledger"
    work = member(ledger, "audit", "work")
    assert (work["note"], member(work, "func")["note"]) == ("cas_audit_work", "cas_audit_work")


def test_pointers_of_other_tasks_are_not_followed_unless_asked_for(
    ask: Ask, trace: list[Record]
) -> None:
    def followed(records: list[Record]) -> list[str]:
        values = (v for frame in frames_of(records, 1) for v in frame["variables"])
        return [v["name"] for v in values if v["value"].startswith("0x") and v.get("members")]

    assert followed(trace) == []
    assert followed(ask(tasks="1", depth=1))


def test_values_that_are_gone_say_so_one_by_one(trace: list[Record]) -> None:
    panic = panic_frames(trace)["panic"]
    assert variable(panic, "fmt")["value"] == "<optimized out>"
    assert variable(panic, "buf")["value"] == '"Fatal exception"'
    assert (variable(panic, "i")["value"], variable(panic, "i")["note"]) == ("400", "0x190")


def test_memory_that_is_not_in_the_dump_is_a_fault_in_its_place(ask: Ask) -> None:
    text = (
        "from drgn import Object\n"
        "def end(trace):\n"
        "    trace.show(Object(trace.prog, 'struct file *', 0xffff888fffff0000), 'gone')\n"
        "    trace.show(Object(trace.prog, 'char *', 0xffff888fffff0000), 'text')\n"
        "    trace.show(Object(trace.prog, 'void *', -12), 'error')\n"
        "    trace.show(Object(trace.prog, 'void *', 0xdead000000000122), 'poison')\n"
        "    trace.show(Object(trace.prog, 'gfp_t', 0xcc0), 'gfp')\n"
    )
    (section,) = of_kind(ask({"core": text}, tasks="panic"), "section")
    told = {line["value"]["name"]: line["value"] for line in section["lines"]}
    assert re.fullmatch(r"<fault 0xffff888fffff0\w+>(; .*)?", told["gone"]["note"])
    assert told["text"]["note"] == "<fault 0xffff888fffff0000>"
    assert told["error"]["note"] == "-ENOMEM"
    assert told["poison"]["note"] == "poison LIST_POISON2: taken off its list"
    assert told["gfp"]["note"] == "0xcc0, GFP_KERNEL"


def test_a_process_id_that_no_task_has_is_said(ask: Ask) -> None:
    records = ask(tasks="1,99999")
    assert [one["text"] for one in of_kind(records, "remark")] == [
        "there is no task of process id 99999"
    ]
    assert [one["pid"] for one in of_kind(records, "task")] == [1]


SHOWN = """
from drgn import Object, cast
from drgn.helpers.linux.fs import for_each_file, for_each_mount
from drgn.helpers.linux.mm import for_each_vma, for_each_valid_pfn_and_page
from drgn.helpers.linux.block import for_each_disk
from drgn.helpers.linux.net import for_each_net, for_each_netdev
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.slab import for_each_slab_cache

def end(trace):
    prog, said = trace.prog, set()

    def show(value, name):
        if name not in said:
            said.add(name)
            trace.show(value, name, 1)

    for task in for_each_task(prog):
        if task.comm.string_() == b"cat" and task.files:
            for fd, file in for_each_file(task):
                if file and file.f_path.dentry.d_name.name.string_() == b"cas_stuck":
                    show(file, "file")
                    show(file.f_path.dentry, "dentry")
                    show(file.f_inode, "inode")
                    show(file.f_inode.i_sb, "super_block")
            show(task, "task")
            show(task.cred, "cred")
            show(task.mm, "mm")
            for vma in for_each_vma(task.mm):
                show(vma, "vma")
        if task.comm.string_() == b"nc":
            for fd, file in for_each_file(task):
                if file and file.f_op == prog["socket_file_ops"].address_of_():
                    show(cast("struct socket *", file.private_data), "socket")
                    show(cast("struct socket *", file.private_data).sk, "sock")
    for device in for_each_netdev(next(for_each_net(prog))):
        show(device, "device")
    for disk in for_each_disk(prog):
        show(disk, "disk")
        show(disk.part0, "bdev")
    for pfn, page in for_each_valid_pfn_and_page(prog):
        if page.flags:
            show(page, "page")
            break
    show(prog["cas_ledger"].audit.wq, "workqueue")
    show(prog["init_task"], "init")
    show(prog["init_task"].cpus_mask, "mask")
    show(next(for_each_slab_cache(prog)), "cache")
    show(prog["cas_ledger"].audit.timer, "timer")
"""


def test_structures_say_what_they_are_about(ask: Ask) -> None:
    (section,) = of_kind(ask({"core": SHOWN}, tasks="panic"), "section")
    told = {line["value"]["name"]: line["value"] for line in section["lines"]}
    notes = {name: value.get("note", "") for name, value in told.items()}
    expected = {
        "file": r'"/proc/cas_stuck" O_RDONLY\S*',
        "dentry": r'"/?cas_stuck"',
        "inode": r'inode \d+ of "proc", mode 0o100\d+, 0 bytes',
        "super_block": r'"proc" "proc"',
        "task": r'pid \d+ "cat", D \(disk sleep\)',
        "cred": r"uid 0, gid 0",
        "vma": r'0x\w+-0x\w+ r--p "/bin/busybox"',
        "sock": r"(\[::\]|0\.0\.0\.0):\d+ to \S+:0 LISTEN",
        "device": r'"lo"',
        "disk": r'"[a-z0-9]+"',
        "bdev": r'\d+:\d+ "[a-z0-9]+"',
        "page": r"pfn 0x\w+, [a-z_|]+",
        "workqueue": r'"cas_wq"',
        "mask": r"CPUs 0",
        "timer": r"delayed_work_timer_fn",
    }
    wrong = {
        name: notes.get(name)
        for name, form in expected.items()
        if not re.fullmatch(form, notes.get(name, ""))
    }
    assert wrong == {}
    assert member(told["cache"], "cpu_slab")["note"].startswith("per-CPU, here 0xffff")
    children = member(told["init"], "children")
    assert children["note"] == "2 on the list"
    assert [one["note"].partition(",")[0] for one in children["members"]] == [
        'pid 1 "init"',
        'pid 2 "kthreadd"',
    ]
    assert member(told["task"], "__state")["note"] == "TASK_UNINTERRUPTIBLE"
    assert member(told["task"], "start_time")["note"].endswith("before the crash")
    assert member(told["socket"], "state")["value"] == "SS_UNCONNECTED"


def test_a_lock_tells_who_holds_it_and_how_many_wait(
    opened: Case, make_room: Callable[..., Confinement], tmp_path: Path
) -> None:
    packed = FIXTURES.parent / "crashes" / "fixtures" / "mutex-abba.kdump.xz"
    path = tmp_path / "vmcore"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    with Worker(make_room()) as worker:
        worker.open(replace(opened, dump=replace(opened.dump, path=path, format="KDUMP")))
        records = list(worker.glide(GlideOrder(tasks="blocked")))
    locks = [
        one["note"]
        for frame in of_kind(records, "frame")
        for one in frame["variables"]
        if one["type"] == "struct mutex *" and "held" in one.get("note", "")
    ]
    holders = [re.search(r'held by pid \d+ "(held-\w\w)", 0x\w+; 1 waiting', one) for one in locks]
    assert {one[1] for one in holders if one} == {"held-ab", "held-ba"}


def test_core_tells_memory_run_queues_mounts_and_the_log(ask: Ask) -> None:
    (core,) = (one for one in glide_modules([shipped("glide")]) if one.name == "core")
    records = ask({core.name: core.text}, tasks="panic")
    assert records[0]["modules"] == ["core"]
    (section,) = of_kind(records, "section")
    lines = [line["text"] for line in section["lines"]]
    assert re.fullmatch(r"memory: \d+ MiB, \d+ MiB free", lines[0])
    assert any(re.fullmatch(r"CPU 1: pid \d+ \(kworker/1:1\), 1 to run, .*", one) for one in lines)
    assert "mount /proc (proc)" in lines
    assert lines[-1].endswith("end Kernel panic - not syncing: Fatal exception ]---")


def test_shipped_modules_take_part_where_their_code_is_built_in(
    opened: Case, make_room: Callable[..., Confinement]
) -> None:
    with Worker(make_room()) as worker:
        worker.open(opened)
        shipped_ones = glide_modules([shipped("glide")])
        records = list(worker.glide(GlideOrder(tasks="panic", modules=shipped_ones)))
    assert records[0]["modules"] == ["core", "virtio"]
    assert of_kind(records, "remark") == []
    section = of_kind(records, "section")[1]
    device, disk, *queues = (line["text"] for line in section["lines"])
    assert re.fullmatch(
        r"virtio0 \(block\) at 0000:00:02.0, virtio_blk; virtio_device 0x\w+", device
    )
    assert disk == '  disk "vda"'
    queue = r"  queue \d req.\d: \d+ entries, 0 in use, 0 with the host, tells virtblk_done; .*"
    assert queues and all(re.fullmatch(queue, one) for one in queues)


HELPED = """
from drgn.helpers.linux.block import for_each_disk

def lacking(trace, number):
    trace.say(f"part {number}")
    trace.prog["no_such_variable"]

def end(trace):
    trace.attempt(lacking, 1)
    trace.say(trace.words(trace.prog["init_task"]))
    trace.say(trace.bits("enum pageflags", 5), trace.bits("enum pageflags", 0))
    trace.say(trace.enumerator(trace.prog["system_state"]))
    trace.say(trace.ticks(trace.prog["jiffies"]), trace.ticks(trace.prog["jiffies"] - 1000))
    trace.say(trace.nanoseconds(1))
    trace.say(*(name for _, name in trace.file_systems("proc", "sysfs")))
    trace.say(str(sum(1 for _ in trace.tasks()) > 30))
    for disk in for_each_disk(trace.prog):
        trace.say_requests(disk.queue)
    trace.say("the end")
"""


def test_a_module_is_helped_to_tell_what_kernels_have(ask: Ask) -> None:
    records = ask({"core": HELPED}, tasks="panic")
    assert of_kind(records, "remark") == []
    (section,) = of_kind(records, "section")
    part, lacking, task, bits, none, state, now, before, since, *mounts, many, end = (
        line["text"] for line in section["lines"]
    )
    assert (part, end, many) == ("part 1", "the end", "True")
    assert lacking.startswith("  lacking: could not find") and "no_such_variable" in lacking
    assert re.fullmatch(r'pid 0 "swapper/0", R \(running\)', task)
    assert (bits, none, state) == ("PG_locked, PG_uptodate", "none", "SYSTEM_RUNNING")
    assert now.startswith("0") and now.endswith(" before the crash")
    assert before.endswith(" before the crash") and since.endswith(" before the crash")
    assert "proc on proc (/proc)" in mounts


def test_a_module_names_the_kernel_modules_that_it_looks_into(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "cas_glide_ledger.py").write_text("# title: a ledger\n# kmods: cas-oops nfs\n")
    (tmp_path / "cas_glide_plain-name.py").write_text("")
    ledger, plain = glide_modules([tmp_path])
    assert (ledger.kmods, plain.kmods) == (("cas_oops", "nfs"), ("plain_name",))
    text = "# kmods: cas_oops cas_none\ndef end(trace):\n    trace.say('here')\n"
    records = ask({"ledger": text, "none": text.replace("cas_oops", "nfs")}, tasks="panic")
    assert records[0]["modules"] == ["ledger"]


@pytest.mark.parametrize(
    ("said", "modules", "remark"),
    [
        (b"ledger\0", ["ledger"], None),
        (b"others\0", [], "the kernel module cas_oops names the module others, and there is no"),
        (b"../../x\0", [], None),
    ],
)
def test_a_kernel_module_may_name_its_module(
    opened: Case, said: bytes, modules: list[str], remark: str | None
) -> None:
    raise_late_on_alarm()
    files = (opened.dump.path, opened.vmlinux)
    dump, kernel = (File(str(each), os.open(each, os.O_RDONLY)) for each in files)
    target = Target(Request(dump, kernel, "x86_64"))
    (kmod,) = (each for each in target.kmods if each.name == "cas_oops")
    symbol = target.own_symbol(kmod, "cas_audit_ledger")
    assert symbol is not None
    # the module has no such symbol: another one of its, as long, is called so and has the value
    strings = kmod.object.kallsyms.strtab.value_()
    table = target.prog.read(strings, 4096 - strings % 4096)
    at = strings + table.index(b"\0cas_audit_ledger\0") + 1
    for address, data in ((at, b"cas_glide_module"), (symbol.address, said)):
        target.prog.add_memory_segment(
            address, len(data), lambda _, size, offset, __, data=data: data[offset : offset + size]
        )
    target._symbols.clear()
    source = Source("ledger", "x.py", "def end(trace):\n    trace.say('here')\n", ("nobodys",))
    records = list(Glide(target, Wanted("panic", sources=(source,))).records())
    assert records[0]["modules"] == modules
    remarks = [each["text"] for each in of_kind(records, "remark")]
    assert [each.startswith(remark or "-") for each in remarks] == [True] * (remark is not None)


@pytest.mark.parametrize(
    ("info", "modules"),
    [
        (b"license=GPL\0cas_glide_module=ledger\0", ["ledger"]),
        (b"cas_glide_module=../ledger\0", []),
        (b"cas_glide_module", []),
    ],
)
def test_a_kernel_module_may_name_its_module_by_its_file(
    opened: Case, kmods: Mapping[str, Path], tmp_path: Path, info: bytes, modules: list[str]
) -> None:
    raise_late_on_alarm()
    own, section = tmp_path / "cas_oops.ko", tmp_path / "modinfo"
    section.write_bytes(info)
    added = ["--rename-section=.modinfo=.before", f"--add-section=.modinfo={section}"]
    subprocess.run([needs("objcopy"), *added, kmods["cas_oops"], own], check=True)
    files = (opened.dump.path, opened.vmlinux, own)
    dump, kernel, kmod = (File(str(each), os.open(each, os.O_RDONLY)) for each in files)
    target = Target(Request(dump, kernel, "x86_64", kmods={"cas_oops": kmod}))
    source = Source("ledger", "x.py", "", ("nobodys",))
    records = list(Glide(target, Wanted("panic", sources=(source,))).records())
    assert records[0]["modules"] == modules


def test_the_guides_module_takes_part_where_its_kmod_is_loaded(ask: Ask) -> None:
    guide = Path(__file__).parents[2] / "docs" / "glide.md"
    (text,) = re.findall(r"```python\n(.*?)```", guide.read_text(), re.S)
    records = ask({"cas_oops": text, "cas_spare": text}, tasks="panic")
    assert records[0]["modules"] == ["cas_oops"]
    assert variable(panic_frames(records)["cas_balance"], "entry")["note"] == "number 8"
    (section,) = of_kind(records, "section")
    assert section["lines"][0]["text"] == "the ledger at cas_ledger"
    # the ninth has no quota: what the crash followed
    assert len(section["lines"]) == 9


def test_code_that_is_built_in_is_found_by_its_module(ask: Ask) -> None:
    text = "def matches(trace):\n    return trace.symbol({!r}) is not None\n"
    there, not_there = text.format("init_task"), text.format("no_such_symbol")
    records = ask({"pid_ns": there, "ext9": not_there}, tasks="panic")
    assert records[0]["modules"] == ["pid_ns"]


def test_hooks_are_called_for_each_item_and_may_leave_it_out(ask: Ask) -> None:
    text = (
        "def task(trace, task):\n"
        "    trace.say(f'state {task.member_(\"__state\").value_()}')\n"
        "    return trace.SUPPRESS if task.pid == 0 else None\n"
        "def frame(trace, task, frame):\n"
        "    return trace.SUPPRESS if frame.name == 'panic' else trace.say('here')\n"
        "def variable(trace, frame, name, value):\n"
        "    return trace.SUPPRESS if name == 'regs' else None\n"
    )
    records = ask({"core": text}, tasks="cpus")
    (task,) = of_kind(records, "task")
    assert task["notes"] == [{"module": "core", "text": "state 0"}]
    frames = of_kind(records, "frame")
    assert all(frame["notes"] == [{"module": "core", "text": "here"}] for frame in frames)
    assert "panic" not in [frame["function"] for frame in frames]
    names = {one["name"] for frame in frames for one in frame["variables"]}
    assert "signr" in names and "regs" not in names


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("1/0", "end: ZeroDivisionError: division by zero"),
        ("raise SystemExit", "end: it called exit()"),
        ("raise KeyboardInterrupt", "end: KeyboardInterrupt"),
        ("raise type('Odd', (Exception,), {'__str__': lambda _: 1 / 0})", "end: Odd"),
        ("trace.read(0, 8)", "end: FaultError: "),
        ("[trace.say('x') for _ in range(3000)]", "end: TooMuch: it told more than 2,000 lines"),
        ("while True: pass", "end: not within 2 s"),
    ],
)
def test_a_module_that_fails_is_disabled_and_the_others_go_on(
    ask: Ask, wrong: str, said: str
) -> None:
    good = "def end(trace):\n    trace.say('fine')\n"
    bad = f"def end(trace):\n    trace.say('before')\n    {wrong}\n"
    records = ask({"cas_oops": bad, "core": good}, tasks="panic")
    (remark,) = of_kind(records, "remark")
    assert remark["text"].startswith(f"module cas_oops is disabled: {said}")
    last = of_kind(records, "section")[-1]
    assert (last["module"], last["lines"]) == ("core", [{"text": "fine"}])


def test_a_printer_whose_words_cannot_be_had_is_disabled(ask: Ask) -> None:
    odd = "class Odd:\n    def __str__(self):\n        raise OSError('none')\n"
    records = ask(
        {"core": f"{odd}PRINTERS = {{'struct task_struct': lambda _: Odd()}}\n"},
        tasks="panic",
        panic_depth=1,
    )
    said = [remark["text"] for remark in of_kind(records, "remark")]
    assert said == ["module core is disabled: its printer of struct task_struct: OSError: none"]


def test_a_file_that_is_no_python_is_said_and_costs_nothing_else(ask: Ask) -> None:
    records = ask({"core": "def end(trace:\n"}, tasks="panic")
    (remark,) = of_kind(records, "remark")
    assert remark["text"].startswith("module core is disabled: its file: SyntaxError: ")
    assert panic_frames(records)
