"""Dumps on a server, read there by ranges before all of them is fetched, or instead."""

from __future__ import annotations

import json
import lzma
import os
import re
import resource
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fetch_servers import (
    Fault,
    Parts,
    Request,
    Web,
    certificate,
    patient_policy,
    web,
)
from ssh_servers import sshd

from cas.choices import Verdict
from cas.engines.drgn.prestart import prestarted
from cas.errors import DiskFull
from cas.fetch.ranged_file import (
    AT_ONCE,
    BLOCK_BYTES,
    RUN_BLOCKS,
    RangedFile,
    TooMuch,
    opened_ranged,
)
from cas.fetch.source import Broken, Changed, NoRanges
from cas.fetch.url import parse_url
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.progress import Silent
from cas.triage import by_ranges
from cas.triage.triage import triage

from installed import FIXTURES, Site, needs

CRASH = "in cas_balance [cas_oops] at drivers/cas/cas_oops.c:63"
BY_RANGES = "read by ranges: "
WHOLE = "Fetching http"
PARTIAL, WAITING = 3, 6


@pytest.fixture
def far(site_a: Site) -> Site:
    """A site that reaches servers on loopback, and runs a snippet through drgn."""
    site_a.settings |= {"engine": "drgn", "privateAddresses": "yes"}
    site_a.keep_snippets("sys")
    return site_a


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        yield running


def served(server: Web, vmcore: Path, lasting: Fault | None = None, **faults: Fault) -> Parts:
    """The dump at ``/vmcore``; ``fault_3`` is that of the third request."""
    numbered = {int(name.rpartition("_")[2]): fault for name, fault in faults.items()}
    server.files["/vmcore"] = parts = Parts(vmcore, faults=numbered, lasting=lasting)
    return parts


def in_order(text: str, *lines: str) -> bool:
    """Whether lines follow one another."""
    places = [text.index(line) for line in lines]
    return places == sorted(places)


def whole_requests(parts: Parts) -> int:
    return parts.ranges.count(None)


def result(site: Site) -> dict[str, Any]:
    return dict(site.result("T-1"))


def test_what_crashed_is_told_before_the_dump_is_fetched(
    far: Site, server: Web, vmcore: Path
) -> None:
    parts = served(server, vmcore)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"))
    assert done.returncode == 0, done.stderr
    assert in_order(done.stderr, "Kernel found by build-id", CRASH, BY_RANGES, WHOLE)
    assert done.stderr.count(CRASH) == 1
    told, job = result(far), json.loads((far.job("T-1") / "job.json").read_text())
    asked = [text for text in parts.ranges if text]
    # what is read ahead may still be under way when the answer is there
    assert 0 <= len(asked) - told["by_ranges"]["requests"] <= AT_ONCE
    assert told["by_ranges"]["size_bytes"] < vmcore.stat().st_size / 5
    # the report is of what was fetched
    assert (told["verdict"], told["dump"]["checked"]) == ("complete", "length")
    assert job["files"]["vmcore/vmcore"]["size_bytes"] == vmcore.stat().st_size
    assert whole_requests(parts) == 1


def test_what_crashed_is_told_by_few_requests_and_drgn_reads_the_rest_later(
    far: Site, server: Web, vmcore: Path
) -> None:
    def is_held(request: Request, parts: Parts) -> None:
        assert parts.go_on.wait(60)
        parts.send_part(request)

    parts = served(server, vmcore, lasting=is_held, fault_40=is_held)
    with far.start("cas", "-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer") as running:
        assert running.stderr
        told = list[str]()
        while not any(CRASH in line for line in told):
            told.append(running.stderr.readline())
        parts.go_on.set()
        _, rest = running.communicate(timeout=60)
    assert running.returncode == PARTIAL, rest
    assert CRASH not in rest
    assert result(far)["answer"]["kmods"]


def test_an_answer_alone_is_partial_and_its_rest_is_fetched_later(
    far: Site, server: Web, vmcore: Path
) -> None:
    """Meanwhile drgn debugs it where the dump is, and crash says how to fetch that."""
    parts = served(server, vmcore)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == 3, done.stderr
    assert "to fetch the rest of the dump and go on: cas -i T-1" in done.stderr
    assert whole_requests(parts) == 0
    told, job = result(far), json.loads((far.job("T-1") / "job.json").read_text())
    assert told["verdict"] == "partial"
    assert "only what the first answer takes was read of the dump" in told["reason"]
    assert told["finding"]["where"].startswith("cas_balance [cas_oops]")
    assert (told["dump"]["checked"], told["dump"]["is_whole"]) == ("ranges", False)
    assert (job["stored"], "vmcore/vmcore" in job["files"]) == (None, False)
    report = (far.job("T-1") / "report.txt").read_text()
    assert "read by ranges on its server" in report
    assert "fetch the rest of the dump: cas -i T-1\n" in report
    assert not (far.job("T-1") / "download").exists() or not any(
        (far.job("T-1") / "download").iterdir()
    )
    done = far.cas("debug", "T-1", "-c", "bt")
    assert done.returncode == 0, done.stderr
    assert "cas_sum_entries" in done.stdout
    url = server.url("/vmcore")
    assert f"the dump is read where it is, {url}; to fetch it: cas -i T-1" in done.stderr
    done = far.cas("glide", "T-1", "--tasks", "panic")
    assert done.returncode == 0, done.stderr
    assert "panic task" in done.stdout and " cas_sum_entries+0x18" in done.stdout
    assert whole_requests(parts) == 0
    done = far.cas("debug", "T-1", "--engine", "crash")
    assert done.returncode == 2
    assert "to fetch it: cas -i T-1" in done.stderr
    other = far.directory / "other"
    other.write_bytes(vmcore.read_bytes() + bytes(4096))
    server.files["/vmcore"] = Parts(other, etag='"v2"')
    done = far.cas("debug", "T-1", "-c", "bt")
    assert done.returncode == 5
    assert "is not the dump that the job has read" in done.stderr
    before = (far.job("T-1") / "result.json").read_bytes()
    for path in (other, far.directory / "cas.conf"):
        server.files["/vmcore"] = Parts(path, etag='"v3"')
        done = far.cas("-i", "T-1")
        assert done.returncode == 5
        assert "is not the dump that the job has read" in done.stderr
        assert f"to analyse what is there now: cas -i T-1 -f {server.url('/vmcore')}" in done.stderr
    assert (far.job("T-1") / "result.json").read_bytes() == before
    server.files["/vmcore"] = parts
    done = far.cas("-i", "T-1")
    assert done.returncode == 0, done.stderr
    told = result(far)
    assert (told["verdict"], told["dump"]["checked"]) == ("complete", "length")
    assert whole_requests(parts) == 1


def test_an_answer_is_kept_while_its_server_cannot_be_reached(
    far: Site, server: Web, vmcore: Path
) -> None:
    served(server, vmcore)
    url = server.url("/vmcore?token=s3cret")
    done = far.cas("-i", "T-1", "-f", url, "--fetch", "answer")
    assert done.returncode == PARTIAL, done.stderr
    assert "and go on: cas -i T-1 -f URL" in done.stderr
    assert "cas debug" not in done.stderr
    report = (far.job("T-1") / "report.txt").read_text()
    assert "fetch the rest of the dump: cas -i T-1 -f URL\n" in report
    assert "Go on" not in report.partition("Location:")[0]
    done = far.cas("debug", "T-1")
    assert done.returncode == 2
    assert "with the whole URL: cas -i T-1 -f URL" in done.stderr
    assert "s3cret" not in (far.job("T-1") / "job.json").read_text() + done.stderr
    before = (far.job("T-1") / "result.json").read_bytes()
    done = far.cas("-i", "T-1")
    assert done.returncode == 2
    assert "give the whole URL with -f" in done.stderr
    assert (far.job("T-1") / "result.json").read_bytes() == before
    del server.files["/vmcore"]
    job = far.job("T-1") / "job.json"
    job.write_text(job.read_text().replace("?…", "").replace("?\\u2026", ""))
    done = far.cas("-i", "T-1")
    assert done.returncode == 4
    assert "there is no such file" in done.stderr
    assert (far.job("T-1") / "result.json").read_bytes() == before


@pytest.mark.long
def test_an_answer_is_kept_when_its_rest_does_not_come_and_when_its_fetch_is_killed(
    far: Site, server: Web, vmcore: Path
) -> None:
    """What was in the way stands in its report, once; then the rest comes."""
    parts = served(server, vmcore)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == PARTIAL, done.stderr
    before, job = result(far), far.job("T-1")

    def not_whole(instead: Fault) -> Fault:
        def give(request: Request, parts: Parts) -> None:
            if request.headers.get("Range"):
                parts.send_part(request)
            else:
                instead(request, parts)

        return give

    parts.faults[1] = parts.lasting = not_whole(denies)
    for _ in range(2):
        done = far.cas("-i", "T-1")
        assert done.returncode == 4, done.stderr
        assert "partial, exit status 4" in done.stderr
        assert f"the answer is kept: less {job}/report.txt; " in done.stderr
        told = result(far)
        assert told["remarks"][:-1] == before["remarks"]
        assert told["remarks"][-1].startswith("the rest of the dump was not fetched: http://")
        assert {**told, "remarks": []} == {**before, "remarks": []}
    assert "the rest of the dump was not fetched" in (job / "report.txt").read_text()
    assert far.admin("check").returncode == 0
    parts.lasting, asked = not_whole(hangs), whole_requests(parts)
    running = far.start("cas", "-i", "T-1")
    while whole_requests(parts) == asked:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    parts.go_on.set()
    assert result(far)["finding"] == before["finding"]
    assert far.cas("debug", "T-1", "-c", "bt").returncode == 0
    parts.faults.clear()
    done = far.cas("-i", "T-1")
    assert done.returncode == 0, done.stderr
    told = result(far)
    assert (told["verdict"], told["dump"]["checked"]) == ("complete", "length")
    assert not any("not fetched" in line for line in told["remarks"])


def denies(request: Request, _: Parts) -> None:
    request.send(403, {"Content-Length": "0"})


def gives_all(request: Request, parts: Parts) -> None:
    """A server that takes no notice of Range."""
    del request.headers["Range"]
    parts.send_part(request)


def changes(request: Request, parts: Parts) -> None:
    """A file that is replaced by another one."""
    parts.etag = '"v2"'
    parts.send_part(request)


def gives_less(request: Request, parts: Parts) -> None:
    parts.send_part(request, cut=1)


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        pytest.param(
            {"fault_1": gives_all}, "the server gives no parts of a file", marks=pytest.mark.long
        ),
        ({"fault_12": changes}, "the file has changed on the server"),
        pytest.param(
            {"fault_5": gives_less},
            "the server sends another part of the file",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_cannot_be_read_by_ranges_is_fetched_whole(
    far: Site, server: Web, vmcore: Path, faults: dict[str, Fault], why: str
) -> None:
    served(server, vmcore, **faults)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == 0, done.stderr
    assert CRASH in done.stderr
    if "the file has changed" in why:  # what was told is told again, of the other one
        assert done.stderr.count("Kernel found by build-id") == 2
    told = result(far)
    assert told["by_ranges"] is None
    assert any(why in remark and "fetched whole" in remark for remark in told["remarks"])
    assert (told["verdict"], told["dump"]["checked"]) == ("complete", "length")


def test_a_dump_of_which_ranges_tell_nothing_is_fetched_and_searched(
    far: Site, server: Web, vmcore: Path
) -> None:
    """Its headers place the kernel elsewhere in memory; the log is found all the same."""
    spoilt = far.directory / "spoilt"
    line = rb"(NUMBER\(phys_base\)=)-?\d+"
    told = re.search(line, vmcore.read_bytes())
    assert told
    other = told[1] + b"7" * (len(told[0]) - len(told[1]))
    spoilt.write_bytes(vmcore.read_bytes().replace(told[0], other, 1))
    served(server, spoilt)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == PARTIAL, done.stderr
    assert "is where the dump says: it is fetched whole" in done.stderr
    assert "BUG: kernel NULL pointer dereference" in result(far)["finding"]["what"]


@pytest.mark.long
def test_a_dump_replaced_after_the_answer_by_ranges_is_told_to_be_another(
    far: Site, server: Web, vmcore: Path
) -> None:
    other = far.directory / "other"
    other.write_bytes(vmcore.read_bytes() + bytes(4096))

    def replaced(request: Request, parts: Parts) -> None:
        if request.headers.get("Range") is None:
            parts.path, parts.etag = other, '"v2"'
        parts.send_part(request)

    served(server, vmcore, lasting=replaced, fault_1=replaced)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"))
    assert "what was fetched is another dump than the one that was read by ranges" in done.stderr
    told = result(far)
    assert told["by_ranges"] is None
    assert told["dump"]["size_bytes"] == other.stat().st_size


@contextmanager
def opened(server: Web, directory: Path) -> Iterator[RangedFile]:
    url, policy = parse_url(server.url("/vmcore")), patient_policy(directory, timeout_s=60.0)
    with opened_ranged(url, policy, directory, Silent()) as file:
        yield file


def test_who_lets_go_of_a_server_does_not_wait_for_its_answer(
    server: Web, vmcore: Path, tmp_path: Path
) -> None:
    waits = list[bool]()

    def is_silent(_: Request, parts: Parts) -> None:
        waits.append(parts.go_on.wait(20))

    parts = served(server, vmcore, fault_2=is_silent)
    with opened(server, tmp_path) as file, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(file.read, 1 << 20, 100)
        while len(parts.ranges) < 2:
            time.sleep(0.01)
        file.close()
        with pytest.raises(Broken, match="is read no more"):
            reading.result()
    assert not waits
    parts.go_on.set()


def test_where_a_part_finds_no_room_is_told(server: Web, vmcore: Path, tmp_path: Path) -> None:
    served(server, vmcore)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(server, tmp_path) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(DiskFull, match=f"vmcore in {re.escape(str(tmp_path))} "):
                file.read(8 << 20, 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ignores_version(request: Request, parts: Parts) -> None:
    """A server that does not know If-Range, and a file that is another one."""
    del request.headers["If-Range"]
    changes(request, parts)


def gives_the_beginning(request: Request, parts: Parts) -> None:
    """A part of the size that was asked for, and it says which."""
    request.headers.replace_header("Range", f"bytes=0-{BLOCK_BYTES - 1}")
    parts.send_part(request)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (gives_all, Changed),
        (changes, Changed),
        (ignores_version, Changed),
        (gives_less, NoRanges),
        (gives_the_beginning, NoRanges),
    ],
)
def test_nothing_is_taken_but_that_part_of_that_version(
    server: Web, vmcore: Path, tmp_path: Path, fault: Fault, error: type[Exception]
) -> None:
    served(server, vmcore, fault_2=fault)
    with opened(server, tmp_path) as file:
        file.is_for_one_answer = True
        for offset in (1 << 20, 2 << 20):  # the second is not even asked for
            with pytest.raises(error):
                file.read(offset, BLOCK_BYTES)
    assert server.asked("/vmcore", "If-Range") == [None, '"v1"']


def test_a_server_is_asked_for_so_much_at_once_and_no_more(
    server: Web, vmcore: Path, tmp_path: Path
) -> None:
    lock, are_enough = threading.Lock(), threading.Event()
    under_way = most = 0

    def is_slow(request: Request, parts: Parts) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        if most >= AT_ONCE:
            are_enough.set()
        assert are_enough.wait(60)
        time.sleep(0.1)  # for one too many to come
        with lock:
            under_way -= 1
        parts.send_part(request)

    served(server, vmcore, lasting=is_slow, fault_1=lambda request, it: it.send_part(request))
    size = (AT_ONCE + 3) * RUN_BLOCKS * BLOCK_BYTES
    with opened(server, tmp_path) as file:
        assert file.read(1 << 20, size) == vmcore.read_bytes()[1 << 20 :][:size]
    assert most == AT_ONCE == 8


def test_who_would_have_to_read_too_much_is_told_before_it_is_asked_for(
    server: Web, vmcore: Path, tmp_path: Path
) -> None:
    parts = served(server, vmcore)
    with opened(server, tmp_path) as file:
        file.limit_bytes = 1 << 20
        file.read(2 << 20, 1 << 19)
        asked = len(parts.ranges)
        with pytest.raises(TooMuch, match=r"more than 1\.0 MiB of .* would have to be read"):
            file.read(4 << 20, 1 << 19)
    assert len(parts.ranges) == asked


def breaks(request: Request, parts: Parts) -> None:
    parts.send_part(request, sent=1000)


def throttles(request: Request, _: Parts) -> None:
    request.send(503, {"Content-Length": "0"})


def hangs_up(request: Request, _: Parts) -> None:
    request.close_connection = True


def test_a_break_and_a_busy_server_in_the_middle_are_waited_out(
    far: Site, vmcore: Path, tmp_path: Path
) -> None:
    with web(certificate(tmp_path)) as server:
        far.environment["SSL_CERT_FILE"] = str(tmp_path / "made.pem")
        served(server, vmcore, fault_4=breaks, fault_9=throttles)
        done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == 3, done.stderr
    assert CRASH in done.stderr
    assert result(far)["dump"]["checked"] == "ranges"


@pytest.mark.long
def test_a_server_that_dies_in_the_middle_costs_the_attempt_and_no_more(
    far: Site, server: Web, vmcore: Path
) -> None:
    parts = served(server, vmcore, lasting=hangs_up, fault_9=hangs_up)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == 75, done.stderr
    assert "run: cas -i T-1" in done.stderr
    assert result(far)["verdict"] == "interrupted"
    parts.lasting = None
    done = far.cas("-i", "T-1")
    assert done.returncode == 3, done.stderr
    assert CRASH in done.stderr


def hangs(_: Request, parts: Parts) -> None:
    parts.go_on.wait(60)


@pytest.mark.long
def test_a_server_that_hangs_while_drgn_asks_is_named_and_not_drgn(
    far: Site, server: Web, vmcore: Path
) -> None:
    far.settings |= {"watchdog": "2", "fetchTimeout": "30"}
    parts = served(server, vmcore, lasting=hangs, fault_20=hangs)
    try:
        done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    finally:
        parts.go_on.set()
    assert done.returncode == 75, done.stderr
    assert "the server did not answer in time" in done.stderr
    assert "Traceback" not in done.stderr
    assert result(far)["verdict"] == "interrupted"


def test_a_private_network_is_refused_and_never_connected_to(
    far: Site, server: Web, vmcore: Path
) -> None:
    """Redirects into one are tested with public addresses, in a network namespace."""
    far.settings["privateAddresses"] = "no"
    served(server, vmcore)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == 5
    assert "privateAddresses" in done.stderr
    assert server.requests == []


@pytest.mark.long
def test_a_dump_on_an_sftp_server_is_answered_by_ranges(
    far: Site, vmcore: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "vmcore of today"
    copy.write_bytes(vmcore.read_bytes())
    with sshd(tmp_path / "sshd", tmp_path / "home") as server:
        server.know()
        far.environment["HOME"] = str(server.home)
        done = far.cas("-i", "T-1", "-f", server.url(copy), "--fetch", "answer")
        assert done.returncode == 3, done.stderr
        assert CRASH in done.stderr
        told = result(far)
        assert told["dump"]["checked"] == "ranges"
        assert told["by_ranges"]["size_bytes"] < vmcore.stat().st_size / 5
        done = far.cas("-i", "T-1")
        assert done.returncode == 0, done.stderr
        assert result(far)["verdict"] == "complete"
        url, policy = parse_url(server.url(copy)), patient_policy(server.home, timeout_s=60.0)
        with opened_ranged(url, policy, tmp_path, Silent()) as file:
            assert file.read(1 << 20, 100) == vmcore.read_bytes()[1 << 20 :][:100]
            file.require_same()
            os.utime(copy, (0, 0))  # as if it were written to
            with pytest.raises(Changed):
                file.require_same()


@pytest.mark.long
def test_a_dump_of_which_too_much_would_be_read_is_fetched_whole(
    far: Site, server: Web, vmcore: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(server, vmcore)
    monkeypatch.setattr(by_ranges, "LIMIT_BYTES", 1 << 20)
    config, url = far.world().config, server.url("/vmcore")
    with prestarted(config) as opened:
        order = Order("T-1", Path(), url=url, source=parse_url(url))
        job = create_job(WorkDirectory(config.work_directory), order, datetime.now(UTC))
        report, error = triage(job, config, Silent(), opened)
    assert error is None
    assert (
        f"more than 1.0 MiB of {url} would have to be read: it is fetched whole" in report.remarks
    )
    assert (report.verdict, report.by_ranges) == (Verdict.COMPLETE, None)


def test_the_id_of_its_crash_takes_few_requests(far: Site, server: Web, vmcore: Path) -> None:
    parts = served(server, vmcore)
    told = far.cas("object", server.url("/vmcore"))
    assert (told.returncode, told.stdout) == (0, far.cas("object", vmcore).stdout)
    assert "another crash may have the same id" in told.stderr
    number = len(parts.ranges)
    assert number <= 10
    asked = far.cas("info", server.url("/vmcore?key=a"))
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "no crash of the archive is meant" in asked.stderr
    assert (len(parts.ranges), whole_requests(parts)) == (2 * number, 0)


def test_what_has_no_id_in_its_headers_is_named_and_to_be_fetched(far: Site, server: Web) -> None:
    url = server.url("/vmcore")
    log = far.directory / "log"
    log.write_text("".join(f"[    {second}.000000] a line\n" for second in range(100)))
    for path, why in (
        (FIXTURES / "a/vmcore.elf.xz", "is a"),
        (log, "has no headers with registers or VMCOREINFO"),
    ):
        served(server, path)
        told = far.cas("object", url)
        assert told.returncode == 4
        assert f"! {url} {why}" in told.stderr
        assert "fetch it first, then: cas object FILE" in told.stderr


@pytest.mark.long
def test_the_id_of_what_claims_to_be_scattered_is_given_up(far: Site, server: Web) -> None:
    stream = far.directory / "stream"
    with stream.open("wb") as file:
        file.write(b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1).ljust(4080, b"\0"))
        for number in range(5000):
            file.write(struct.pack(">qq", (number + 1) << 20, 60_000))
            file.seek(60_000, 1)
        file.truncate()
    parts = served(server, stream)
    told = far.cas("object", server.url("/vmcore"))
    assert told.returncode == 4
    assert "more than 64.0 MiB of" in told.stderr
    assert "fetch it first, then: cas object FILE" in told.stderr
    assert whole_requests(parts) == 0


@pytest.fixture
def compressed(made: Callable[[str, Callable[[Path], object]], Path], vmcore: Path) -> Path:
    """The dump as makedumpfile compresses it."""
    argv = [needs("makedumpfile"), "-c", "-d", "31", vmcore]

    def make(path: Path) -> None:
        subprocess.run([*argv, path], check=True, capture_output=True)

    return made("vmcore.kdump-by-ranges", make)


def test_a_compressed_dump_is_read_page_by_page(far: Site, server: Web, compressed: Path) -> None:
    far.settings["fetch"] = "answer"
    parts = served(server, compressed)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"))
    assert done.returncode == PARTIAL, done.stderr
    assert CRASH in done.stderr
    told = result(far)
    assert (told["dump"]["format"], told["dump"]["checked"]) == ("KDUMP", "ranges")
    assert whole_requests(parts) == 0
    assert told["by_ranges"]["size_bytes"] < compressed.stat().st_size * 0.8


@pytest.mark.long
def test_what_a_dump_on_a_server_lacks_is_told_though_it_is_not_fetched(
    far: Site, server: Web, vmcore: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(vmcore.read_bytes()[: -(1 << 20)])
    served(server, cut)
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == PARTIAL, done.stderr
    told = result(far)
    assert told["dump"]["missing"][0]["cause"] == "cut"
    assert "the dump is damaged: declares" in told["reason"]
    assert "only what the first answer takes was read" in told["reason"]


@pytest.mark.long
def test_an_answer_without_a_kernel_waits_and_is_given_when_that_is_there(
    site: Site, server: Web, vmcore: Path
) -> None:
    site.settings |= {"engine": "drgn", "privateAddresses": "yes", "fetch": "answer"}
    site.settings["debugs"] = str(site.directory / "debugs")
    parts = served(server, vmcore)
    done = site.cas("-i", "T-1", "-f", server.url("/vmcore"))
    assert done.returncode == WAITING, done.stderr
    assert "cas_sum_entries" in result(site)["finding"]["title"]
    site.settings["kernels"] = str(FIXTURES / "a")
    done = site.admin("-b")
    assert done.returncode == 0, done.stderr
    told = result(site)
    assert (told["verdict"], told["dump"]["checked"]) == ("partial", "ranges")
    assert told["finding"]["where"].startswith("cas_balance")
    assert whole_requests(parts) == 0


@pytest.mark.long
def test_a_packed_dump_is_fetched_although_an_answer_was_asked_for(far: Site, server: Web) -> None:
    parts = served(server, FIXTURES / "a/vmcore.elf.xz")
    done = far.cas("-i", "T-1", "-f", server.url("/vmcore"), "--fetch", "answer")
    assert done.returncode == 0, done.stderr
    assert "is packed, or no dump that is read by ranges: it is fetched whole" in done.stderr
    assert (len(parts.ranges), whole_requests(parts)) == (2, 1)


@pytest.mark.long
@pytest.mark.parametrize("part", ["b", "arm64"])
def test_every_shipped_dump_is_answered_by_ranges_as_beside_us(
    site: Site, catalogued: Callable[[Site, str], Site], server: Web, part: str
) -> None:
    site = catalogued(site, part)
    site.settings |= {"engine": "drgn", "privateAddresses": "yes", "fetch": "answer"}
    packed = next((FIXTURES / part).glob("vmcore*"))
    dump = site.directory / "dump"
    data = packed.read_bytes()
    dump.write_bytes(lzma.decompress(data) if packed.suffix == ".xz" else data)
    served(server, dump)
    done = site.cas("-i", "T-1", "-f", server.url("/vmcore"))
    assert done.returncode == PARTIAL, done.stderr
    beside = site.cas("-i", "T-2", "-f", dump)
    assert beside.returncode == 0, beside.stderr
    mine, theirs = result(site)["finding"], site.result("T-2")["finding"]
    same = ("title", "what", "where", "who", "signature", "similar")
    assert {key: mine[key] for key in same} == {key: theirs[key] for key in same}
