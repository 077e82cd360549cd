"""A kernel log in place of a dump, through the installed command."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from catalogue import kernel_packages as kp

from cas import elf
from cas.dump import identify

from installed import COMMANDS, FIXTURES, Site, few_of, needs

PARTS = ("a", "b", "arm64")
NO_DUMP = "there is no dump, only a kernel log: what it does not say cannot be looked up"
WHERE = "cas_balance [cas_oops] at drivers/cas/cas_oops.c:63, inlined in cas_sum_entries"


@pytest.fixture(scope="session")
def logs(
    made: Callable[[str, Callable[[Path], object]], Path],
) -> Mapping[str, Path]:
    """The kernel logs of the shipped dumps, as ``vmcore-dmesg`` would have kept them."""

    def write(path: Path) -> None:
        path.mkdir()
        for part in PARTS:
            dump = path / f"vmcore-{part}"
            packed = next((FIXTURES / part).glob("vmcore*"))
            data = packed.read_bytes()
            dump.write_bytes(lzma.decompress(data) if packed.suffix == ".xz" else data)
            (path / f"{part}.txt").write_text(identify(dump).dmesg or "")
            dump.unlink()

    directory = made("kernel-logs", write)
    return {part: directory / f"{part}.txt" for part in PARTS}


def judged(site: Site, upload: Path, ticket: str = "L-1", *words: str) -> Mapping[str, Any]:
    done = site.cas("-i", ticket, "-f", upload, *words)
    assert (done.returncode, NO_DUMP in done.stderr) == (3, True), done.stderr
    return site.result(ticket)


def signatures(result: Mapping[str, Any]) -> Mapping[str, str]:
    found = result["finding"]["signatures"]
    return {each["granularity"]: each["value"] for each in found}


@pytest.mark.parametrize("part", few_of(("a", "arm64"), {"arm64"}))
def test_an_oops_text_names_the_line_that_its_dump_would_and_has_its_signatures(
    site: Site,
    catalogued: Callable[[Site, str], Site],
    finished: Site,
    logs: Mapping[str, Path],
    part: str,
) -> None:
    result = judged(catalogued(site, part), logs[part])
    assert (result["verdict"], result["engine"], result["evidence"]) == ("partial", "log", "banner")
    assert result["finding"]["where"].startswith(WHERE)
    trace = result["finding"]["trace"]
    assert all(frame["line"] for frame in trace)
    assert [frame["function"] for frame in trace if not frame["inlined"]][1:3] == [
        "cas_audit_ledger",
        "cas_audit_work",
    ]
    assert signatures(result) == signatures(finished.result("T-1"))  # of the first
    again = site.admin("reprocess", "-n", "L-1")
    assert "0 would change, 1 unchanged" in again.stdout
    report = (site.job("L-1") / "report.txt").read_text()
    assert "cas debug L-1" in report
    nothing = site.cas("-i", "L-1")
    assert "L-1 has no unfinished job" in nothing.stderr
    assert "cas debug" not in nothing.stderr


def test_a_debugger_on_a_log_has_its_kernel_and_no_memory(
    site: Site, catalogued: Callable[[Site, str], Site], logs: Mapping[str, Path]
) -> None:
    judged(catalogued(site, "b"), logs["b"])
    job = site.job("L-1")
    assert "sym cas_sum_entries+0x18 >> lines\n" in (job / "crash.in").read_text()
    assert os.access(job / "crash", os.X_OK)
    commands = (
        "struct list_head",
        "dis worker_thread 1",
        "sym cas_audit_ledger+0x18/0x2c [cas_oops]",
        "sym worker_thread+0x182/0x238",
        "log | grep -c Oops:",
        "bt",
        "p init_task.pid",
        "struct list_head ffffffff82000000",
    )
    words = [word for one in commands for word in ("-c", one)]
    answered = site.cas("debug", "L-1", *words, "-x", job / "crash.in")
    assert answered.returncode == 1, answered.stdout
    told = "there is no dump, only a kernel log: no memory can be read"
    for line in (
        "cas_sum_entries+0x18 drivers/cas/cas_oops.c: 63 (cas_balance, inlined)\n",
        "SIZE: 16\n",
        "<worker_thread>:\tpushq   %r14\n",
        "cas_audit_ledger+0x18 ",
        "worker_thread has another size here than 0x238: it is of another build\n",
        "\n1\n",
        f"bt: {told}; of the commands there are ascii, dis, ",
        f"p: {told}; of the commands there are ascii, dis, ",
        f"struct: {told}: 0xffffffff",
    ):
        assert line in answered.stdout
    assert told in answered.stderr
    refused = site.cas("debug", "L-1", "--engine", "crash")
    told = "L-1 has no dump, only a kernel log: crash has nothing to open"
    assert (refused.returncode, told in refused.stderr) == (2, True)
    refused = site.cas("glide", "L-1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "L-1 has no dump, only a kernel log: there are no stacks to trace" in refused.stderr
    assert "cas debug L-1" in refused.stderr
    assert site.result("L-1")["glide"] is None


def test_a_bad_pointer_of_a_log_is_named_with_the_member_that_was_wanted(
    site: Site, catalogued: Callable[[Site, str], Site], logs: Mapping[str, Path], tmp_path: Path
) -> None:
    """One instruction earlier than in the dump: there the debug information has the pointer."""
    text = logs["b"].read_text().replace("cas_sum_entries+0x18/0x38", "cas_sum_entries+0x14/0x38")
    text = text.replace("48 8b 43 18 <48> 8b 50 18", "<48> 8b 43 18 48 8b 50 18")
    text = re.sub(r"RBX: ffff\w+", f"RBX: {0:016x}", text)
    (tmp_path / "oops.txt").write_text(text)
    result = judged(catalogued(site, "b"), tmp_path / "oops.txt")
    told = "entry (struct cas_entry *, rbx) is NULL: the access to 0x18 was to its member account"
    assert told in " ".join(each["sentence"] for each in result["fault"]["evidence"])
    assert (result["fault"]["registers_from"], result["fault"]["code_from"]) == ("kernel log",) * 2


def test_a_bad_pointer_of_a_log_that_the_kernel_itself_loaded_is_named(
    site: Site, catalogued: Callable[[Site, str], Site], logs: Mapping[str, Path], tmp_path: Path
) -> None:
    """No debug information has it in a register; the code before the fault fills that."""
    text = re.sub(
        r"Code: .*>.*",
        "Code: 48 8b 46 10 <48> 8b b0 20 03 00 00 b8 02 00 00",
        logs["b"].read_text(),
    )
    text = text.replace("cas_sum_entries+0x18/0x38 [cas_oops]", "vdso_fault+0x4/0x6f")
    text = re.sub(r"(address|CR2): 0{14}18", r"\1: 0000000000000320", text)
    (tmp_path / "oops.txt").write_text(text)
    result = judged(catalogued(site, "b"), tmp_path / "oops.txt")
    (told,) = [each for each in result["fault"]["evidence"] if "vma->vm_mm" in each["sentence"]]
    assert told["sentence"].startswith(
        "vma->vm_mm (struct mm_struct *, rax) is NULL: the access to"
    )
    assert "its member context.vdso_image" in told["sentence"]
    assert "`movq 0x10(%rsi), %rax`, where rsi is struct vm_area_struct *vma" in told["source"]


def test_a_kernel_whose_functions_have_other_sizes_gives_no_lines(
    site_b: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    text = logs["b"].read_text()
    other = re.sub(r"(worker_thread\+0x\w+)/0x\w+", r"\1/0x999", text)
    (tmp_path / "oops.txt").write_text(other)
    result = judged(site_b, tmp_path / "oops.txt")
    assert "cas_sum_entries+0x18 [cas_oops]" in result["finding"]["where"]
    assert not any(frame["line"] for frame in result["finding"]["trace"])
    (told,) = [remark for remark in result["remarks"] if "does not fit" in remark]
    assert "its functions have other sizes than in the log" in told
    assert result["kernel"]["package"] is None
    assert not (site_b.job("L-1") / "crash").exists()
    refused = site_b.cas("debug", "L-1", "-c", "sym worker_thread")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "its functions have other sizes than in the log" in refused.stderr
    assert site_b.cas("debug", "L-1", "-c", "sym worker_thread", "--force").returncode == 0


def test_a_kmod_of_another_size_costs_only_its_own_lines(
    site_b: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    text = logs["b"].read_text().replace("cas_audit_ledger+0x18/0x2c", "cas_audit_ledger+0x18/0x30")
    (tmp_path / "oops.txt").write_text(text)
    result = judged(site_b, tmp_path / "oops.txt")
    lines = {frame["function"]: frame["line"] for frame in result["finding"]["trace"]}
    assert lines["cas_sum_entries"] is lines["cas_audit_work"] is None
    assert lines["worker_thread"]
    assert any("no lines of cas_oops" in remark for remark in result["remarks"])


@pytest.mark.parametrize("fits", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_kmod_of_another_package_gives_lines_if_its_functions_have_the_sizes(
    site: Site, logs: Mapping[str, Path], vmlinux_b: Path, tmp_path: Path, fits: bool
) -> None:
    (package,) = (FIXTURES / "b").glob("*.rpm")
    subprocess.run(
        [needs("bsdtar"), "-xf", package, "-C", tmp_path, "*cas_oops.ko.debug"], check=True
    )
    (kmod,) = tmp_path.rglob("cas_oops.ko.debug")
    tree = "/usr/lib/debug/lib/modules/6.1.192-1.cas1.x86_64/extra"
    identity = elf.build_id(kmod) or ""
    link = f"/usr/lib/debug/.build-id/{identity[:2]}/{identity[2:]}.debug"
    recipe = kp.Recipe(
        {f"{tree}/cas_oops.ko.debug": kmod.read_bytes()},
        {link: "../../lib/modules/6.1.192-1.cas1.x86_64/extra/cas_oops.ko.debug"},
        name="oops-debuginfo",
    )
    site.settings["debugs"] = str(tmp_path / "debugs")  # where no job has left the kmod
    kp.build(recipe, Path(site.settings["kernels"]))
    (Path(site.settings["kernels"]) / "vmlinux").symlink_to(vmlinux_b)
    assert site.admin("-b").returncode == 0
    text = logs["b"].read_text()
    if not fits:
        text = text.replace("cas_audit_ledger+0x18/0x2c", "cas_audit_ledger+0x18/0x30")
    (tmp_path / "oops.txt").write_text(text)
    result = judged(site, tmp_path / "oops.txt")
    told = (
        "lines of cas_oops are of the build that another package has: the log does not tell which"
    )
    assert any(told in each for each in result["remarks"]) == fits
    assert any("no lines of cas_oops: what is there" in each for each in result["remarks"]) != fits
    assert result["finding"]["where"].startswith(WHERE) == fits
    shutil.rmtree(tmp_path / "debugs")
    answered = site.cas("debug", "L-1", "-c", "sym cas_sum_entries+0x18/0x38")
    assert "cas_oops.c: 63 (cas_balance, inlined)" in answered.stdout
    assert ("cas_oops is of another build than in the log" in answered.stderr) != fits


@pytest.mark.long
def test_a_log_whose_kernel_nobody_has_is_judged_all_the_same_and_again_when_it_comes(
    site: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    packed = tmp_path / "oops.txt.gz"
    packed.write_bytes(gzip.compress(logs["a"].read_bytes()))
    result = judged(site, packed)
    assert result["finding"]["kind"] == "null-dereference"
    assert result["finding"]["where"] == "cas_sum_entries+0x18 [cas_oops]"
    (told,) = [each for each in result["remarks"] if each.startswith("no line of the source")]
    assert "no debuginfo for 6.1.192-1.cas1.x86_64" in told
    assert "1 job still waiting for a kernel" in site.admin("-b").stdout
    assert "1 job waiting for 6.1.192-1.cas1.x86_64" in site.admin("status").stdout
    assert f"{site.job('L-1')}" in site.admin("-p", "-d", "0", "-n").stdout
    (rpm,) = (FIXTURES / "a").glob("*.rpm")
    shutil.copy(rpm, site.settings["kernels"])
    came = site.admin("-b")
    assert (came.returncode, f"partial {site.job('L-1')}" in came.stdout) == (0, True), came.stderr
    result = site.result("L-1")
    assert result["finding"]["where"].startswith(WHERE)
    assert "no unfinished job" in site.cas("-i", "L-1").stderr


def test_of_a_log_that_does_not_name_its_kernel_those_are_told_whose_functions_fit(
    finished: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    lines = logs["a"].read_text().splitlines()
    (tmp_path / "oops.txt").write_text(
        "".join(f"{line}\n" for line in lines if "6.1.192-1.cas1" not in line)
    )
    result = judged(finished, tmp_path / "oops.txt", "L-9")
    assert result["finding"]["where"] == "cas_sum_entries+0x18 [cas_oops]"
    (told,) = [each for each in result["remarks"] if "does not say which kernel" in each]
    found = re.search(
        r"may be 6\.1\.192-1\.cas1\.x86_64, build-id (81561b\w+) \((\d+) functions\)", told
    )
    assert found
    assert int(found[2]) >= 5
    command = told.partition("to look at it so: cas ")[2].split()
    answered = finished.cas(*command, "-c", "sym worker_thread+0x10")
    assert "kernel/workqueue.c" in answered.stdout, answered.stderr
    text = (tmp_path / "oops.txt").read_text()
    (tmp_path / "other.txt").write_text(re.sub(r"(worker_thread\+0x\w+)/0x\w+", r"\1/0x999", text))
    result = judged(finished, tmp_path / "other.txt", "L-10")
    assert any("no kernel in the cache fits" in each for each in result["remarks"])
    refused = finished.cas("debug", "L-10", *command[2:], "-c", "sym worker_thread")
    assert "its functions have other sizes than in the log" in refused.stderr
    lines = text.splitlines(keepends=True)
    of_kmod = [line for line in lines if "[cas_oops]" in line or not re.search(r"\+0x\w+/0x", line)]
    (tmp_path / "kmod.txt").write_text("".join(of_kmod))
    result = judged(finished, tmp_path / "kmod.txt", "L-11")
    (told,) = [each for each in result["remarks"] if "does not say which kernel" in each]
    assert "names no function of the kernel itself to compare" in told


def test_the_parts_that_pstore_kept_of_a_crash_are_put_together(
    site: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    text, size = logs["a"].read_text(), 6000
    upload = tmp_path / "pstore.tar"
    with tarfile.open(upload, "w") as archive:
        for part in range(1, 4):
            end = len(text) - (part - 1) * size
            content = f"Panic#1 Part{part}\n{text[max(0, end - size) : end]}".encode()
            name = f"var/lib/systemd/pstore/17/dmesg-efi-17{part}"
            if part == 2:  # as the kernel leaves one that it cannot unpack
                stream = zlib.compressobj(9, zlib.DEFLATED, -12)
                content = stream.compress(content) + stream.flush()
                name += ".enc.z"
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    result = judged(site, upload)
    kept = (site.job("L-1") / "log").read_text().rstrip("\n")
    assert text.rstrip("\n").endswith(kept[-3 * size + 100 :])
    assert result["finding"]["where"] == "cas_sum_entries+0x18 [cas_oops]"
    assert "the kernel log is put together of 3 files" in result["remarks"]


def test_of_several_boots_the_last_crash_is_judged_and_what_others_reported_is_told(
    site: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    crash = logs["a"].read_text()
    calm = crash[: crash.index("BUG: kernel NULL")].rpartition("\n")[0]
    first = crash.replace("address: 0000000000000018", "address: 0000000000000028")
    (tmp_path / "console.log").write_text("\n".join((first, crash, calm)))
    result = judged(site, tmp_path / "console.log")
    assert "address: 0000000000000018" in result["finding"]["what"]
    told = [remark for remark in result["remarks"] if "boot" in remark]
    assert told == [
        "the log has 3 boots, and 2 of them crashed: this is number 2",
        "boot 1 crashed too: BUG: kernel NULL pointer dereference, address: 0000000000000028",
        "boot 3 reported: INFO: task cat:47 blocked for more than 2 seconds.",
    ]


def test_a_log_is_identified_and_a_text_that_only_quotes_one_is_not(
    site: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    told = json.loads(site.cas("identify", "--json", logs["b"]).stdout)
    assert (told["format"], told["arch"]) == ("kernel log", "x86_64")
    assert told["osrelease"] == "6.1.192-1.cas1.x86_64"
    (tmp_path / "letter").write_text("It says:\nBUG: kernel NULL pointer dereference\nHelp!\n")
    refused = site.cas("identify", tmp_path / "letter")
    assert refused.returncode == 4
    assert "is a text, neither a dump nor a kernel log" in refused.stderr


def test_a_dump_and_its_log_are_known_to_be_of_one_crash(
    own_finished: Site, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    upload = shutil.copy(logs["a"], tmp_path / "vmcore-dmesg.txt")
    judged(own_finished, Path(upload))
    report = (own_finished.job("L-1") / "report.txt").read_text()
    assert "Seen before the same kernel log as T-1" in report


def packed(path: Path, members: Mapping[str, bytes]) -> Path:
    """An archive of these files, as a customer sends the directory of a crash."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"127.0.0.1-2026-11-30-10:00:00/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


KDUMPS_LOG = b"""\
[    0.000000] Linux version 6.1.192-1.cas1.x86_64 (cas@fixtures) #1 SMP
[    2.100000] kdump: saving vmcore
[    3.200000] makedumpfile: page allocation failure: order:0, mode:0x140cca
[    3.300000] kdump: saving vmcore failed
"""


@pytest.mark.parametrize(
    "incomplete",
    [
        pytest.param((40, "the dump cannot be read at all: "), marks=pytest.mark.long),
        (65536, "the kernel log is 0000-vmcore-dmesg.txt, which came with the dump"),
    ],
    ids=["unreadable", "cut"],
)
def test_an_incomplete_dump_is_judged_by_the_log_that_came_beside_it(
    site_b: Site,
    vmcore_b: Path,
    logs: Mapping[str, Path],
    tmp_path: Path,
    incomplete: tuple[int, str],
) -> None:
    size, told = incomplete
    members = {
        "vmcore-incomplete": vmcore_b.read_bytes()[:size],
        "vmcore-dmesg.txt": logs["b"].read_bytes(),
        "kexec-dmesg.log": KDUMPS_LOG,
    }
    site_b.settings["engine"] = "drgn"
    done = site_b.cas("-i", "L-1", "-f", packed(tmp_path / "crash.tar.gz", members))
    assert done.returncode == 3, done.stderr
    result = site_b.result("L-1")
    assert result["finding"]["kind"] == "null-dereference"
    assert "cas_sum_entries+0x18" in result["finding"]["where"]
    remarks = "\n".join(result["remarks"])
    assert told in remarks
    assert "the crash kernel says that it ran out of memory" in remarks
    assert "crashkernel=" in result["customer_note"]
    assert "page allocation failure" in result["customer_note"]


def test_the_log_of_another_kernel_beside_a_dump_is_left_alone(
    site: Site, vmcore_b: Path, logs: Mapping[str, Path], tmp_path: Path
) -> None:
    other = logs["b"].read_text().replace("6.1.192-1.cas1", "6.1.190-7.cas1")
    members = {"vmcore": vmcore_b.read_bytes()[:65536], "dmesg.txt": other.encode()}
    site.settings["engine"] = "drgn"
    site.cas("-i", "L-1", "-f", packed(tmp_path / "a.tar.gz", members))
    result = site.result("L-1")
    assert result["finding"]["kind"] == "none"
    assert not any("came with the dump" in remark for remark in result["remarks"])


@pytest.mark.parametrize(
    ("taint", "is_shown"), [("", True), pytest.param("(O)", False, marks=pytest.mark.long)]
)
def test_the_source_of_the_faulting_line_is_shown_unless_the_kmod_is_not_the_kernels(
    site_b: Site, logs: Mapping[str, Path], tmp_path: Path, taint: str, is_shown: bool
) -> None:
    drivers = tmp_path / "sources" / "6.1.192-1.cas1.x86_64" / "drivers" / "cas"
    drivers.mkdir(parents=True)
    shutil.copy(FIXTURES.parent / "modules" / "cas_oops.c", drivers)
    site_b.settings["sources"] = str(tmp_path / "sources")
    text = logs["b"].read_text().replace("in: cas_oops(O)", f"in: cas_oops{taint}")
    (tmp_path / "oops.txt").write_text(text)
    source = judged(site_b, tmp_path / "oops.txt")["fault"]["source"]
    assert (source is not None) is is_shown
    if is_shown:
        assert (source["file"], source["line"]) == ("drivers/cas/cas_oops.c", 63)


def test_a_log_or_a_dump_may_be_piped_in(
    site_b: Site, vmcore_b: Path, logs: Mapping[str, Path]
) -> None:
    site_b.settings["engine"] = "drgn"
    done = site_b.cas("-i", "L-1", "-f", "-", input=logs["b"].read_text())
    assert (done.returncode, NO_DUMP in done.stderr) == (3, True), done.stderr
    assert site_b.result("L-1")["finding"]["where"].startswith(WHERE)
    site_b.settings["database"] = str(site_b.directory / "other.db")  # which knows no kernel
    site_b.settings["debugs"] = str(site_b.directory / "debugs")
    with vmcore_b.open("rb") as dump, subprocess.Popen(["cat"], stdin=dump, stdout=-1) as cat:
        argv = [COMMANDS / "cas", "-i", "L-2", "-f", "-"]
        piped = subprocess.run(
            argv, env=site_b.prepared(), stdin=cat.stdout, capture_output=True, check=False
        )
    assert piped.returncode == 6, piped.stderr
    kept = site_b.job("L-2") / "vmcore" / "stdin"
    assert kept.read_bytes() == vmcore_b.read_bytes()


def test_what_is_piped_in_and_is_neither_is_called_stdin(site: Site) -> None:
    done = site.cas("-i", "L-1", "-f", "-", input="hello\n")
    assert done.returncode == 4
    assert "! stdin is a text, neither a dump nor a kernel log" in done.stderr
    two = site.cas("-i", "L-2", "-f", "-", "-f", "vmcore", input="hello\n")
    assert (two.returncode, "-f - takes one upload alone" in two.stderr) == (2, True)
