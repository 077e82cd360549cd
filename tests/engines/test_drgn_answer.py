"""drgn's first answer, from the shipped dump and from damaged ones."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cas import elf
from cas.engines.drgn.process import Worker
from cas.errors import EngineError
from cas.model.answer import FirstAnswer
from cas.model.case import Case
from cas.model.snippet import Snippet
from cas.supervise import Confinement

TIMEOUT_S = 60


def at(path: Path, opened: Case) -> Case:
    """The same kernel's dump in another file."""
    return replace(opened, dump=replace(opened.dump, path=path))


@pytest.fixture(scope="module")
def answers(
    opened: Case, kmods: Mapping[str, Path], make_room: Callable[..., Confinement]
) -> tuple[FirstAnswer, FirstAnswer]:
    """Without the kmods' debug files, and when they had been given to the same process."""
    with Worker(make_room()) as worker:
        first = worker.answer(opened, TIMEOUT_S)
        return first, worker.answer_again(first, kmods, TIMEOUT_S)


@pytest.fixture(scope="module")
def answer(answers: tuple[FirstAnswer, FirstAnswer]) -> FirstAnswer:
    return answers[0]


@pytest.fixture(scope="module")
def full_answer(
    opened: Case, kmods: Mapping[str, Path], make_room: Callable[..., Confinement]
) -> FirstAnswer:
    with Worker(make_room()) as worker:
        return worker.answer(replace(opened, kmods=kmods), TIMEOUT_S)


def test_the_fault_is_the_panic_message_not_its_consequence(answer: FirstAnswer) -> None:
    assert answer.panic_message is not None
    assert answer.panic_message.startswith("BUG: kernel NULL pointer dereference, address: ")


def test_the_panic_task_is_the_kworker_on_the_crashed_cpu(answer: FirstAnswer) -> None:
    assert answer.panic_task is not None
    assert answer.panic_task.comm.startswith("kworker/1:")
    assert (answer.panic_task.cpu, answer.panic_task.state) == (1, "R (running)")


def test_the_system_is_described(answer: FirstAnswer) -> None:
    assert (answer.nodename, answer.cpus_online, answer.taint) == ("cas-guest", 2, "GDO")
    assert answer.memory_bytes is not None and 64 << 20 < answer.memory_bytes <= 96 << 20
    assert answer.uptime_s is not None and 5 < answer.uptime_s < 300
    assert answer.crash_time is not None and answer.crash_time.tzinfo is not None
    assert answer.problems == ()


def test_the_kernel_log_has_stamps_and_the_end_of_the_panic(answer: FirstAnswer) -> None:
    assert answer.dmesg is not None
    assert answer.dmesg.startswith("[    0.000000] Linux version 6.1.192-1.cas1.x86_64")
    assert "end Kernel panic" in answer.dmesg


def test_kernel_modules_are_spelled_as_the_kernel_does(answer: FirstAnswer) -> None:
    assert [kmod.name for kmod in answer.kmods] == ["cas_oops", "cas_stuck", "nf_cas_dummy"]
    assert {kmod.taint for kmod in answer.kmods} == {"O"}
    assert not any(kmod.has_debuginfo for kmod in answer.kmods)


def test_the_backtrace_crosses_a_kernel_module_without_debuginfo(answer: FirstAnswer) -> None:
    names = [(frame.kmod, frame.function) for frame in answer.backtrace]
    assert names[-7:] == [
        ("cas_oops", "cas_sum_entries"),
        ("cas_oops", "cas_audit_ledger"),
        ("cas_oops", "cas_audit_work"),
        (None, "process_one_work"),
        (None, "worker_thread"),
        (None, "kthread"),
        (None, "ret_from_fork"),
    ]


def test_frames_of_a_kernel_module_without_debuginfo_have_offsets(answer: FirstAnswer) -> None:
    frame = next(frame for frame in answer.backtrace if frame.kmod)
    assert frame.offset is not None and frame.offset > 0
    assert (frame.file, frame.line) == (None, None)


def test_frames_of_a_kernel_module_with_debuginfo_have_lines(full_answer: FirstAnswer) -> None:
    frames = {frame.function: frame for frame in full_answer.backtrace if frame.kmod == "cas_oops"}
    assert all(frame.line for frame in frames.values())
    assert frames["cas_sum_entries"].file == "drivers/cas/cas_oops.c"


def test_inlined_functions_are_frames_of_their_own(full_answer: FirstAnswer) -> None:
    inlined = [frame for frame in full_answer.backtrace if frame.inlined and frame.kmod]
    assert [frame.function for frame in inlined] == ["cas_balance", "cas_weigh"]
    assert {frame.offset for frame in inlined} == {None}


def test_kernel_modules_with_a_debug_file_are_marked(full_answer: FirstAnswer) -> None:
    assert all(kmod.has_debuginfo for kmod in full_answer.kmods)


@pytest.mark.long
@pytest.mark.parametrize("compression", ["-c", "-l"])
def test_compressed_dumps_give_the_same_backtrace(
    worker: Worker,
    opened: Case,
    answer: FirstAnswer,
    converted: Callable[..., Path],
    compression: str,
) -> None:
    other = at(converted(compression, "-d", "31"), opened)
    assert worker.answer(other, TIMEOUT_S).backtrace == answer.backtrace


@pytest.mark.long
def test_another_architectures_dump_is_read_like_our_own(
    worker: Worker, opened_aarch64: Case
) -> None:
    answer = worker.answer(opened_aarch64, TIMEOUT_S)
    functions = [frame.function for frame in answer.backtrace]
    assert functions.index("cas_sum_entries") < functions.index("process_one_work")
    assert answer.crash_time is None  # the machine has no clock
    assert answer.problems == ("the clock: 1970-01-01 00:00:04 UTC is not to be believed",)


def test_a_dump_without_register_notes_is_unwound_from_its_stack(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    bare = tmp_path / "vmcore"
    bare.write_bytes(without_prstatus(opened.dump.path.read_bytes()))
    answer = worker.answer(at(bare, opened), TIMEOUT_S)
    assert answer.backtrace[0].function == "cas_sum_entries"
    assert answer.backtrace[-1].function == "ret_from_fork"
    assert any("the registers of CPU 1 cannot be used" in problem for problem in answer.problems)


def without_prstatus(dump: bytes) -> bytes:
    """The dump with its register notes renamed, so that nobody finds them."""
    return dump.replace(b"CORE\0\0\0\0", b"NONE\0\0\0\0")


def test_a_dump_without_vmcoreinfo_is_opened_with_what_the_reader_found_and_its_log_not_read_again(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    dump = opened.dump.path.read_bytes()
    bare = tmp_path / "vmcore"
    bare.write_bytes(dump.replace(b"VMCOREINFO\0", b"UNKNOWNOTE\0"))
    bare_dump = at(bare, opened)
    log = {"dmesg": "[    0.000000] a log\n", "panic_message": "a message"}
    found = replace(bare_dump.dump, vmcoreinfo=vmcoreinfo(dump), **log)
    answer = worker.answer(replace(bare_dump, dump=found), TIMEOUT_S)
    assert answer.problems == ()
    assert (answer.dmesg, answer.panic_message) == tuple(log.values())


def vmcoreinfo(dump: bytes) -> dict[str, str]:
    name = dump.index(b"VMCOREINFO\0")
    (size,) = struct.unpack_from("<I", dump, name - 8)
    text = dump[name + 12 : name + 12 + size].decode()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_a_compressed_dump_that_does_not_name_its_machine_is_opened_by_the_readers_word(
    worker: Worker,
    opened: Case,
    answer: FirstAnswer,
    converted: Callable[..., Path],
    tmp_path: Path,
) -> None:
    nameless = tmp_path / "vmcore"
    dump = converted("-c", "-d", "31").read_bytes()
    utsname = slice(12, 12 + 6 * 65)
    nameless.write_bytes(dump[: utsname.start] + bytes(6 * 65) + dump[utsname.stop :])
    other = worker.answer(at(nameless, opened), TIMEOUT_S)
    assert (other.problems, other.backtrace) == ((), answer.backtrace)


def test_a_dump_without_its_page_tables_is_refused_with_the_reason(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    short = tmp_path / "vmcore"
    short.write_bytes(opened.dump.path.read_bytes()[: 8 << 20])
    with pytest.raises(EngineError, match="drgn can read nothing in the dump: memory at 0x"):
        worker.answer(at(short, opened), TIMEOUT_S)


def test_garbage_is_refused_with_drgns_reason(worker: Worker, opened: Case, tmp_path: Path) -> None:
    garbage = tmp_path / "vmcore"
    garbage.write_bytes(os.urandom(1 << 16))
    with pytest.raises(EngineError, match="drgn cannot open the dump: not an ELF core file"):
        worker.answer(at(garbage, opened), TIMEOUT_S)


def test_a_vmlinux_without_debug_information_is_named(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    empty = tmp_path / "vmlinux"
    empty.write_bytes(b"")
    with pytest.raises(EngineError, match=f"{empty}"):
        worker.answer(Case(opened.dump, empty), TIMEOUT_S)


def test_another_kernels_vmlinux_is_refused(
    worker: Worker, opened: Case, kmods: Mapping[str, Path]
) -> None:
    with pytest.raises(EngineError, match="no debug information of this kernel"):
        worker.answer(Case(opened.dump, kmods["cas_oops"]), TIMEOUT_S)


def test_a_second_look_with_debug_files_shows_the_lines_that_the_first_could_not(
    answers: tuple[FirstAnswer, FirstAnswer], full_answer: FirstAnswer
) -> None:
    first, second = answers
    assert (second.backtrace, second.kmods) == (full_answer.backtrace, full_answer.kmods)
    assert (second.dmesg, second.panic_task) == (first.dmesg, first.panic_task)


def test_a_debug_file_of_another_build_is_refused_and_a_second_look_mends_it(
    worker: Worker, opened: Case, kmods: Mapping[str, Path], full_answer: FirstAnswer
) -> None:
    wrong = replace(opened, kmods={"cas_oops": kmods["cas_spare"]})
    first = worker.answer(wrong, TIMEOUT_S)
    assert not first.kmods[0].has_debuginfo
    assert first.problems == ("cas_oops: the given debug file is of another build",)
    second = worker.answer_again(first, kmods, TIMEOUT_S)
    assert second.backtrace == full_answer.backtrace
    assert not any("of another build" in problem for problem in second.problems)


def test_debug_files_that_come_later_serve_a_worker_that_was_started_again(
    worker: Worker, opened: Case, kmods: Mapping[str, Path], tmp_path: Path
) -> None:
    worker.open(opened)
    worker.supply(kmods)
    os.kill(worker.pid, signal.SIGKILL)
    snippet = Snippet("bt", "bt", ("bt -l",))
    worker.run_snippet(snippet, tmp_path / "bt")  # sees that it is gone
    assert worker.run_snippet(snippet, tmp_path / "bt").status == "ok"
    assert "drivers/cas/cas_oops.c" in (tmp_path / "bt").read_text()


def test_the_dump_tells_which_build_of_a_kmod_was_loaded(
    full_answer: FirstAnswer, kmods: Mapping[str, Path]
) -> None:
    loaded = {kmod.name: kmod.build_id for kmod in full_answer.kmods}
    assert loaded == {name: elf.build_id(kmods[name]) for name in loaded}
