"""Fetching by http and https from servers on loopback: whole, broken, lying and hostile ones."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from fetch_servers import Request, Served, Web, certificate, dripping, patient_policy, redirect, web

from cas.commands.console import Console
from cas.errors import CasError, DiskFull, FetchError, LimitExceeded, Refused, TryAgain
from cas.fetch.fetch import fetch
from cas.fetch.source import PrivateNetworks
from cas.fetch.url import parse_url
from cas.progress import Silent
from cas.settings.rules import IntakeLimits

from installed import closed_port

BODY = os.urandom(3_000_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
NO_RESERVE = IntakeLimits(reserve_bytes=1)


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as running:
        yield running


def get(url: str, directory: Path, **policy: object) -> Path:
    policy = {"limits": NO_RESERVE, **policy}
    return fetch(parse_url(url), directory / "job", patient_policy(directory, **policy), Silent())


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "job").iterdir())


def test_a_file_arrives_whole_under_its_name(site: Web, tmp_path: Path) -> None:
    site.files["/dumps/vmcore.gz"] = Served(BODY)
    path = get(site.url("/dumps/vmcore.gz?token=s3cret#top"), tmp_path)
    assert path == tmp_path / "job/vmcore.gz"
    assert path.read_bytes() == BODY
    assert left(tmp_path) == ["vmcore.gz"]
    assert site.requests[0][0] == "/dumps/vmcore.gz?token=s3cret"


def test_a_fetched_file_is_not_fetched_again(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY)
    get(site.url("/vmcore"), tmp_path)
    asked = len(site.requests)
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert len(site.requests) == asked


def test_an_empty_file_is_a_file(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(b"")
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == b""


@pytest.mark.parametrize("path", ["/", "/..", "/%2e%2e%2f", "/.hidden", "/a%2Fb", "/" + "n" * 400])
def test_no_url_names_a_file_outside_or_a_hidden_one(path: str, site: Web, tmp_path: Path) -> None:
    site.files[path] = Served(BODY)
    got = get(site.url(path), tmp_path)
    assert got.parent == tmp_path / "job"
    assert not got.name.startswith(".")
    assert left(tmp_path) == [got.name]


def test_a_broken_connection_is_gone_on_with(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, breaks=[1_000_000, 500_000])
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "Range") == [None, "bytes=1000000-", "bytes=1500000-"]
    assert site.asked("/vmcore", "If-Range") == [None, '"v1"', '"v1"']


def test_a_server_without_ranges_is_asked_for_all_of_it(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, breaks=[1_000_000], has_ranges=False)
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY


def test_a_file_without_validator_is_never_joined(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, etag=None, breaks=[1_000_000])
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "Range") == [None, None]


def test_the_date_of_the_last_change_joins_too(site: Web, tmp_path: Path) -> None:
    date = "Fri, 21 Nov 2025 08:41:29 GMT"
    served = Served(BODY, etag=None, breaks=[1_000_000], headers={"Last-Modified": date})
    site.files["/vmcore"] = served
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "If-Range") == [None, date]


def test_progress_on_long_files_outlasts_the_attempts(site: Web, tmp_path: Path) -> None:
    body = os.urandom(12 << 20)
    site.files["/vmcore"] = Served(body, breaks=[2 << 20] * 5)
    assert get(site.url("/vmcore"), tmp_path, attempts=2).read_bytes() == body


def test_what_came_before_the_last_attempt_is_kept_for_the_next_run(
    site: Web, tmp_path: Path
) -> None:
    served = Served(BODY, breaks=[400_000, 300_000, 200_000])
    site.files["/vmcore"] = served
    with pytest.raises(TryAgain, match=r"878\.9 KiB of 2\.9 MiB"):
        get(site.url("/vmcore"), tmp_path)
    assert left(tmp_path) == [".vmcore.part", ".vmcore.part.json"]
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "Range")[3] == "bytes=900000-"
    assert left(tmp_path) == ["vmcore"]


def test_a_part_of_another_version_is_not_used(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(bytes(len(BODY)), etag='"old"', breaks=[1_000_000])
    with pytest.raises(TryAgain):
        get(site.url("/vmcore"), tmp_path, attempts=1)
    site.files["/vmcore"] = Served(BODY, etag='"new"')
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY


def test_a_part_of_another_url_is_not_used(site: Web, tmp_path: Path) -> None:
    site.files["/a/vmcore"] = Served(bytes(len(BODY)), breaks=[1_000_000])
    site.files["/b/vmcore"] = Served(BODY)
    with pytest.raises(TryAgain):
        get(site.url("/a/vmcore"), tmp_path, attempts=1)
    assert get(site.url("/b/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/b/vmcore", "Range") == [None]


def test_a_file_that_changes_between_attempts_begins_anew(site: Web, tmp_path: Path) -> None:
    """This server ignores If-Range: only the ETag of its answer tells."""

    class Careless(Served):
        def begin(self, request: Request) -> int:
            asked = request.headers.get("Range", "bytes=0-")
            self.etag = '"new"'
            self.body = BODY
            return int(asked.removeprefix("bytes=").removesuffix("-"))

    site.files["/vmcore"] = Served(bytes(len(BODY)), etag='"old"', breaks=[1_000_000])
    with pytest.raises(TryAgain):
        get(site.url("/vmcore"), tmp_path, attempts=1)
    site.files["/vmcore"] = Careless(b"")
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"[" * 4000,
        b"[]",
        b'{"url": 1}',
        b'{"version": {"size_bytes": "x", "validator": "y"}}',
        b"\xff",
    ],
)
def test_a_note_that_cannot_be_read_begins_anew(note: bytes, site: Web, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/.vmcore.part").write_bytes(b"other")
    (tmp_path / "job/.vmcore.part.json").write_bytes(note)
    site.files["/vmcore"] = Served(BODY)
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY


def test_after_a_restart_only_what_was_forced_to_the_disk_is_believed(
    site: Web, tmp_path: Path
) -> None:
    site.files["/vmcore"] = Served(BODY, breaks=[1_000_000])
    with pytest.raises(TryAgain):
        get(site.url("/vmcore"), tmp_path, attempts=1)
    path = tmp_path / "job/.vmcore.part.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, "boot": "another", "synced_bytes": 12_345}))
    with (tmp_path / "job/.vmcore.part").open("r+b") as part:
        part.seek(12_345)
        part.write(bytes(500_000))
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "Range")[1] == "bytes=12345-"


def test_a_killed_download_is_gone_on_with(site: Web, tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def stall(request: Request) -> None:
        request.send(200, {"Content-Length": str(len(BODY)), "ETag": '"v1"'})
        request.wfile.write(BODY[:2_000_000])
        request.wfile.flush()
        reached.set()
        go_on.wait(60)

    site.files["/vmcore"] = stall
    script = (
        "import sys; from pathlib import Path; from cas.progress import Silent\n"
        "from cas.fetch.fetch import FetchPolicy, fetch; from cas.fetch.url import parse_url\n"
        "from cas.fetch.source import PrivateNetworks\n"
        "from cas.settings.rules import IntakeLimits\n"
        "limits = IntakeLimits(reserve_bytes=1)\n"
        "policy = FetchPolicy(PrivateNetworks.ALLOWED, limits=limits)\n"
        "fetch(parse_url(sys.argv[1]), Path(sys.argv[2]), policy, Silent())\n"
    )
    argv = [sys.executable, "-c", script, site.url("/vmcore"), tmp_path / "job"]
    part = tmp_path / "job/.vmcore.part"
    with subprocess.Popen(argv) as process:
        assert reached.wait(60)
        while part.stat().st_size < 2_000_000:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    go_on.set()
    site.files["/vmcore"] = Served(BODY)
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "Range") == [None, "bytes=2000000-"]
    assert left(tmp_path) == ["vmcore"]


def test_an_interrupt_keeps_the_part(site: Web, tmp_path: Path) -> None:
    def interrupt(request: Request) -> None:
        request.send(200, {"Content-Length": str(len(BODY)), "ETag": '"v1"'})
        request.wfile.write(BODY[:1_000_000])
        request.wfile.flush()
        while (tmp_path / "job/.vmcore.part").stat().st_size < 1_000_000:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    site.files["/vmcore"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        get(site.url("/vmcore"), tmp_path)
    assert left(tmp_path) == [".vmcore.part", ".vmcore.part.json"]


def test_a_whole_part_that_was_not_finished_needs_no_byte(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY)
    site.files["/vmcore.sha256"] = Served(b"", statuses=[503, 503, 503])
    with pytest.raises(TryAgain, match=r"vmcore\.sha256: the server says 503"):
        get(site.url("/vmcore"), tmp_path)
    site.files["/vmcore.sha256"] = Served(DIGEST.encode())
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "Range")[1] == f"bytes={len(BODY)}-"


def test_a_server_that_recovers_is_forgiven(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, statuses=[503, 429])
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("3600", ", and to ask again in 1 h$"),
        (formatdate(4e9, usegmt=True), ", and to ask again in [0-9]+ d"),
        (formatdate(0, usegmt=True), "503 Service Unavailable$"),
        ("soon", "503 Service Unavailable$"),
    ],
)
def test_a_server_that_wants_to_be_left_alone_for_long_is_not_asked_again(
    asked: str, told: str, site: Web, tmp_path: Path
) -> None:
    site.files["/vmcore"] = Served(BODY, statuses=[503] * 3, retry_after=asked)
    with pytest.raises(TryAgain, match=told):
        get(site.url("/vmcore"), tmp_path)
    assert len(site.requests) == (1 if "again" in told else 3)


def test_a_server_is_left_alone_as_long_as_it_asks(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, statuses=[429], retry_after="1")
    begun = time.monotonic()
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_worth_another_run(status: int, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, statuses=[status] * 3)
    with pytest.raises(TryAgain, match=f"the server says {status}"):
        get(site.url("/vmcore"), tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [204, 400, 401, 403, 404, 410, 451])
def test_a_refusal_is_final_and_leaves_nothing(status: int, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, statuses=[status] * 3)
    with pytest.raises(FetchError, match=str(status)):
        get(site.url("/vmcore"), tmp_path)
    assert left(tmp_path) == []
    assert len(site.requests) == 1


def test_a_closed_port_is_worth_another_run(tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match="cannot be reached: Connection refused"):
        get(f"http://127.0.0.1:{closed_port()}/vmcore", tmp_path)


def test_an_unknown_host_is_said(tmp_path: Path) -> None:
    with pytest.raises(CasError, match=r"nowhere\.invalid has no address"):
        get("http://nowhere.invalid/vmcore", tmp_path)


def test_a_length_that_is_too_long_never_gives_a_file(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, declared=len(BODY) + 5)
    with pytest.raises(TryAgain):
        get(site.url("/vmcore"), tmp_path)
    assert not (tmp_path / "job/vmcore").exists()


@pytest.mark.parametrize("length", ["-1", "x", "1e9", "9" * 5000, "1, 2"])
def test_a_length_that_is_none_is_refused(length: str, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, has_length=False, headers={"Content-Length": length})
    with pytest.raises(FetchError, match="no usable length"):
        get(site.url("/vmcore"), tmp_path)


def test_chunks_are_put_together(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = chunked([BODY[:1_000_000], BODY[1_000_000:], b""])
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY


def test_chunks_without_an_end_never_give_a_file(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = chunked([BODY])
    with pytest.raises(TryAgain):
        get(site.url("/vmcore"), tmp_path)
    assert left(tmp_path) == []


def chunked(chunks: list[bytes]):  # type: ignore[no-untyped-def]
    def give(request: Request) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send(200, {"Transfer-Encoding": "chunked"})
        for chunk in chunks:
            request.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    return give


def endless(request: Request) -> None:
    request.send(200, {"ETag": '"v1"'})
    while True:
        request.wfile.write(bytes(1 << 20))


def test_an_endless_file_ends_at_the_limit(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = endless
    limits = IntakeLimits(unpack_bytes=20 << 20, reserve_bytes=1)
    with pytest.raises(LimitExceeded, match=r"larger than 20\.0 MiB") as caught:
        get(site.url("/vmcore"), tmp_path, limits=limits)
    assert caught.value.limit == "unpackLimit"
    assert left(tmp_path) == []


def test_a_file_that_is_too_large_is_not_begun(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, declared=1 << 50)
    with pytest.raises(LimitExceeded):
        get(site.url("/vmcore"), tmp_path)
    assert left(tmp_path) == []


def test_the_reserve_of_the_disk_is_left_alone(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY)
    with pytest.raises(DiskFull, match="beside a reserve of"):
        get(site.url("/vmcore"), tmp_path, limits=IntakeLimits(reserve_bytes=1 << 60))
    assert left(tmp_path) == []


def test_a_file_that_may_not_grow_on_keeps_what_came(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(DiskFull, match=r"\.vmcore\.part in .* larger than this process"):
            get(site.url("/vmcore"), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    assert site.asked("/vmcore", "Range") == [None, "bytes=1000000-"]


def test_a_directory_that_cannot_be_written_is_said(site: Web, tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file")
    with pytest.raises(CasError, match=r"cannot write .*job"):
        get(site.url("/vmcore"), tmp_path)
    assert site.requests == []


def test_a_silent_server_counts_as_gone(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = dripping(b"abc", pause_s=2)
    with pytest.raises(TryAgain, match="did not answer in time"):
        get(site.url("/vmcore"), tmp_path, timeout_s=0.2, attempts=1)


def test_a_server_that_drips_counts_as_gone(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = dripping(bytes(1000), pause_s=0.05)
    with pytest.raises(TryAgain, match="did not answer in time"):
        get(site.url("/vmcore"), tmp_path, timeout_s=0.2, attempts=1)


def test_a_slow_server_is_waited_for(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = dripping(b"slow but sure", pause_s=0.02)
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == b"slow but sure"


def without_end(line: bytes):  # type: ignore[no-untyped-def]
    def give(request: Request) -> None:
        while True:
            request.wfile.write(line * 1000)

    return give


@pytest.mark.parametrize("line", [b"HTTP/1.1 100 wait\r\n\r\n", b"X: y\r\n", b"x"])
def test_an_answer_without_end_is_given_up(line: bytes, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = without_end(line)
    with pytest.raises(CasError):
        get(site.url("/vmcore"), tmp_path, timeout_s=0.2, attempts=1)
    assert left(tmp_path) == []


HEADS = (b"HTTP/1.1 200 OK", b"HTTP/1.1 206 x", b"HTTP/1.0 301 ", b"HTTP/1.1 416", b"HTTP/9 -1 ")
LINES = (
    b"Content-Length: 9",
    b"Content-Length: -9",
    b"Content-Range: bytes 0-8/9",
    b"Content-Range: bytes 9-1/*",
    b"Content-Range: bytes */0",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Encoding: \xff",
    b"Location: //[::1",
    b"Location: \x80\x00/",
    b"Repr-Digest: sha-256=:" + b"A" * 43 + b"=:",
    b'ETag: "\x01"',
    b"Last-Modified: \xc3\xbc",
    b" folded",
    b": empty",
    b"\x00" * 70_000,
)
BODIES = (b"", b"\r\n" * 9, b"-5\r\nabc", b"ffffffffffffffffff\r\n", b"3;x\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize("seed", range(8))
def test_random_answers_end_in_a_file_or_an_error(seed: int, site: Web, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311

    def answer(request: Request) -> None:
        lines = [chance.choice(HEADS), *chance.choices(LINES, k=chance.randrange(6))]
        request.wfile.write(b"\r\n".join([*lines, b"", chance.choice(BODIES)]))

    site.files["/vmcore"] = answer
    for number in range(40):
        with contextlib.suppress(CasError):
            get(site.url("/vmcore"), tmp_path / str(number), timeout_s=0.3, attempts=2)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_file_that_is_encoded_unasked_is_kept_as_it_came(
    encoding: str, site: Web, tmp_path: Path
) -> None:
    packed = gzip.compress(BODY)
    site.files["/vmcore"] = Served(packed, headers={"Content-Encoding": encoding})
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == packed
    assert site.asked("/vmcore", "Accept-Encoding") == ["identity"]


def test_an_encoding_that_nothing_here_reads_is_refused(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, headers={"Content-Encoding": "br"})
    with pytest.raises(FetchError, match="encodes the file as br"):
        get(site.url("/vmcore"), tmp_path)


CHECKSUMS = {
    "text": f"{DIGEST}  vmcore\n",
    "binary": f"{DIGEST} *vmcore\n",
    "another name": f"{DIGEST}  /home/user/other\n",
    "bare": DIGEST,
    "upper case": DIGEST.upper(),
    "escaped name": f"\\{DIGEST}  new\\nline\n",
    "tagged": f"SHA256 (vmcore) = {DIGEST}\n",
}


@pytest.mark.parametrize("kind", CHECKSUMS)
def test_a_checksum_beside_the_file_is_compared(kind: str, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY)
    site.files["/vmcore.sha256"] = Served(CHECKSUMS[kind].encode())
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY
    wrong = CHECKSUMS[kind].replace(DIGEST, "0" * 64).replace(DIGEST.upper(), "0" * 64)
    site.files["/vmcore.sha256"] = Served(wrong.encode())
    with pytest.raises(FetchError, match=f"SHA-256 is {DIGEST}, but .*sha256 says {'0' * 64}"):
        get(site.url("/vmcore"), tmp_path / "wrong")
    assert left(tmp_path / "wrong") == []


def test_a_page_in_place_of_a_checksum_is_told_and_left_out(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY)
    site.files["/vmcore.sha256"] = Served(b"<html>" + DIGEST.encode() * 1000)
    stream = io.StringIO()
    policy = patient_policy(tmp_path, limits=NO_RESERVE)
    fetch(parse_url(site.url("/vmcore")), tmp_path / "job", policy, Console(stream, {}))
    assert "is not a checksum as sha256sum writes it" in stream.getvalue()


@pytest.mark.parametrize("name", ["Repr-Digest: sha-256=:{}:", "Digest: SHA-256={}"])
def test_a_checksum_in_the_header_is_compared(name: str, site: Web, tmp_path: Path) -> None:
    header, _, value = name.partition(": ")
    right = base64.b64encode(bytes.fromhex(DIGEST)).decode()
    site.files["/vmcore"] = Served(BODY, headers={header: value.format(right)})
    get(site.url("/vmcore"), tmp_path)
    site.files["/vmcore"] = Served(BODY[1:], headers={header: value.format(right)})
    with pytest.raises(FetchError, match=f"but the server says {DIGEST}"):
        get(site.url("/vmcore"), tmp_path / "wrong")


def test_redirects_are_followed(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = redirect("/1", 301)
    site.files["/1"] = redirect(site.url("/2"), 307)
    site.files["/2"] = redirect("there/3", 308)
    site.files["/there/3"] = Served(BODY)
    got = get(site.url("/vmcore"), tmp_path)
    assert (got.name, got.read_bytes()) == ("vmcore", BODY)


def test_a_circle_of_redirects_ends(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = redirect("/vmcore")
    with pytest.raises(FetchError, match="redirected more than 5 times"):
        get(site.url("/vmcore"), tmp_path)
    assert len(site.requests) == 6


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "javascript:x", "FILE:/x"]
)
def test_a_redirect_to_another_protocol_is_refused(
    location: str, site: Web, tmp_path: Path
) -> None:
    site.files["/vmcore"] = redirect(location)
    with pytest.raises(Refused, match="only http and https are followed") as caught:
        get(site.url("/vmcore"), tmp_path)
    assert caught.value.hint.startswith("fetch the file by other means")
    assert left(tmp_path) == []


@pytest.mark.parametrize("location", ["", "http://", "http://[", "http://a\x80b:x/", "//"])
def test_a_redirect_to_nonsense_is_an_error(location: str, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = redirect(location)
    with pytest.raises(FetchError):
        get(site.url("/vmcore"), tmp_path)


def test_credentials_do_not_follow_a_redirect_to_another_host(site: Web, tmp_path: Path) -> None:
    with web() as other:
        other.files["/vmcore"] = Served(BODY)
        site.files["/vmcore"] = redirect(other.url("/vmcore"))
        get(site.url("/vmcore").replace("//", "//user:s3cret@"), tmp_path)
        expected = base64.b64encode(b"user:s3cret").decode()
        assert site.asked("/vmcore", "Authorization") == [f"Basic {expected}"]
        assert other.asked("/vmcore", "Authorization") == [None]


def test_netrc_gives_the_login(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    get(site.url("/vmcore"), tmp_path)
    expected = base64.b64encode(b"me:s3cret").decode()
    assert site.asked("/vmcore", "Authorization") == [f"Basic {expected}"]


def test_a_netrc_that_others_may_read_is_not_used(site: Web, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    (tmp_path / ".netrc").chmod(0o644)
    with pytest.raises(FetchError, match="other users may read it"):
        get(site.url("/vmcore"), tmp_path)
    assert site.requests == []


def echo(request: Request) -> None:
    request.wfile.write(b"s3cret tok3n HTTP/9\r\n\r\n")


@pytest.mark.parametrize("status", [401, 404, 500, 0])
def test_no_secret_is_in_any_text(status: int, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, statuses=[status] * 9) if status else echo
    stream = io.StringIO()
    url = parse_url(site.url("/vmcore?sig=tok3n").replace("//", "//s3cretuser:s3cret@"))
    policy = patient_policy(tmp_path, limits=NO_RESERVE)
    with pytest.raises(CasError) as caught:
        fetch(url, tmp_path / "job", policy, Console(stream, {}))
    shown = "".join(traceback.format_exception(caught.value)) + stream.getvalue() + repr(url)
    assert "s3cret" not in shown
    assert "tok3n" not in shown
    assert "…@127.0.0.1" in shown


def repeating(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 404 no s3cret tok3n here\r\nContent-Length: 0\r\n\r\n")


def redirecting(location: str) -> Callable[[Request], None]:
    return lambda request: request.send(302, {"Location": location, "Content-Length": "0"})


@pytest.mark.parametrize(
    "answer",
    [
        repeating,
        redirecting("/s3cret/tok3n/gone?tok3n#tok3n"),
        redirecting("http://tok3n.invalid/s3cret"),
        redirecting("http://s3cretuser:s3cret@tok3n.example.invalid:1/"),
        redirecting("tok3n:s3cret"),
        lambda request: request.send(200, {"Content-Encoding": "tok3n", "Content-Length": "9"}),
        lambda request: request.send(206, {"Content-Range": "tok3n", "Content-Length": "9"}),
    ],
)
def test_what_a_server_repeats_is_shown_nowhere(
    answer: Callable[[Request], None], site: Web, tmp_path: Path
) -> None:
    site.files["/vmcore"] = answer
    stream = io.StringIO()
    url = parse_url(site.url("/vmcore?sig=tok3n&x=1").replace("//", "//s3cretuser:s3cret@"))
    policy = patient_policy(tmp_path, limits=NO_RESERVE)
    with pytest.raises(CasError) as caught:
        fetch(url, tmp_path / "job", policy, Console(stream, {}))
    shown = "".join(traceback.format_exception(caught.value)) + stream.getvalue()
    assert "s3cret" not in shown
    assert "tok3n" not in shown


def test_no_secret_is_in_the_note_of_a_part(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, breaks=[1_000_000])
    with pytest.raises(TryAgain):
        get(site.url("/vmcore?sig=tok3n").replace("//", "//u:s3cret@"), tmp_path, attempts=1)
    note = (tmp_path / "job/.vmcore.part.json").read_text()
    assert "tok3n" not in note
    assert "s3cret" not in note


def test_private_networks_are_refused_unless_allowed(site: Web, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="private network") as caught:
        get(site.url("/vmcore"), tmp_path, private_networks=PrivateNetworks.REFUSED)
    assert "privateAddresses" in caught.value.hint
    assert site.requests == []


def test_proxies_of_the_environment_are_not_used(
    site: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    site.files["/vmcore"] = Served(BODY)
    assert get(site.url("/vmcore"), tmp_path).read_bytes() == BODY


@pytest.fixture
def secure_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    made = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "made.pem"))
    with web(made) as running:
        yield running


def test_https_is_checked_against_the_trusted_authorities(
    secure_site: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure_site.files["/vmcore"] = Served(BODY, breaks=[1_000_000])
    assert get(secure_site.url("/vmcore"), tmp_path).read_bytes() == BODY
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(FetchError, match="the certificate of localhost is not trusted"):
        get(secure_site.url("/vmcore"), tmp_path / "other")


def test_https_wants_the_right_name(secure_site: Web, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is not trusted"):
        get(secure_site.url("/vmcore").replace("localhost", "127.0.0.1"), tmp_path)


def test_https_is_not_redirected_to_http(secure_site: Web, site: Web, tmp_path: Path) -> None:
    secure_site.files["/vmcore"] = redirect(site.url("/vmcore"))
    with pytest.raises(Refused, match="not encrypted"):
        get(secure_site.url("/vmcore"), tmp_path)
    assert site.requests == []


def test_https_of_a_plain_server_is_an_error(site: Web, tmp_path: Path) -> None:
    with pytest.raises(CasError, match="TLS"):
        get(site.url("/vmcore").replace("http:", "https:"), tmp_path)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("has_length", [True, False])
def test_a_terminal_gets_a_bar(has_length: bool, site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, breaks=[1_000_000], has_length=has_length)
    stream = Terminal()
    policy = patient_policy(tmp_path, limits=NO_RESERVE)
    fetch(parse_url(site.url("/vmcore?x=y")), tmp_path / "job", policy, Console(stream, {}))
    assert "/vmcore?…" in stream.getvalue().replace("\n", "")


def test_elsewhere_there_are_plain_lines(site: Web, tmp_path: Path) -> None:
    site.files["/vmcore"] = Served(BODY, breaks=[1_000_000])
    site.files["/vmcore.sha256"] = Served(DIGEST.encode())
    stream = io.StringIO()
    policy = patient_policy(tmp_path, limits=NO_RESERVE)
    url = parse_url(site.url("/vmcore"))
    fetch(url, tmp_path / "job", policy, Console(stream, {}))
    broke = "the connection ended after 976.6 KiB of 2.9 MiB; trying again"
    lines = [f"* Fetching {url}", f"! {url}: {broke}", "* Comparing checksums"]
    assert stream.getvalue().splitlines() == lines
