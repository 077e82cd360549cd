"""Copies of files on a host, by OpenSSH's own server: sent once, whole, and cleaned by use."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from relay import Relay
from ssh_servers import Sshd, sshd

from cas.errors import HostLost, TryAgain
from cas.hosts.link import HostUnfit, Link
from cas.hosts.shared import see_the_same, sees_directory
from cas.hosts.transfer.copies import PART_S, YOUNG_S, Copies, Copy, superfluous
from cas.hosts.transfer.script import BLOCK_BYTES, PLACE
from cas.hosts.transfer.sending import NoRoom
from cas.progress import Advance, Silent
from cas.settings.rules import HostRules
from cas.ssh import Destination, LoginOptions, logged_in

from installed import needs

MIB = 1 << 20
KEEPALIVE_S = 5.0
TOOLS = ("bash", "sh", "flock", "sha256sum", "stat", "dd", "du", "sed", "mkdir", "cat", "touch")
TOOLS += ("sleep", "rm", "mv", "chmod", "date", "gzip")


class HostAnswer(Silent):
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.offset = 0
        """From where on the last file was sent."""

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextlib.contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        steps: list[int] = []
        yield steps.append
        self.lines.append(text)
        self.offset = steps[0]

    warn = say


@dataclass
class Place:
    """A host, and a directory on it for copies."""

    server: Sshd
    directory: Path
    told: HostAnswer = field(default_factory=HostAnswer)

    @property
    def objects(self) -> Path:
        return self.directory / "objects"

    @contextlib.contextmanager
    def link(self, reach: Relay | None = None) -> Iterator[Link]:
        options = LoginOptions(self.server.home)
        destination = Destination("127.0.0.1", self.server.port)
        with (
            logged_in(destination, options, reach) as connection,
            Link(connection, KEEPALIVE_S) as link,
        ):
            yield link

    def copies(self, link: Link, cache_bytes: int = 1 << 40) -> Copies:
        return Copies(
            link, HostRules(directory=str(self.directory), cache_bytes=cache_bytes), self.told
        )

    def place(self, path: Path, reach: Relay | None = None, digest: str | None = None) -> Path:
        with self.link(reach) as link:
            return Path(self.copies(link).place_copy(path, digest))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Place]:
    with a_host(tmp_path, {}) as place:
        yield place


@pytest.fixture
def host_with(tmp_path: Path) -> Callable[..., AbstractContextManager[Place]]:
    """A host that has only the named programs, some of them ours."""

    def make(names: tuple[str, ...] = TOOLS, **scripts: str) -> AbstractContextManager[Place]:
        programs = tmp_path / "programs"
        programs.mkdir()
        for name in names:
            (programs / name).symlink_to(needs(name))
        for name, script in scripts.items():
            (programs / name).unlink(missing_ok=True)
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        return a_host(tmp_path, {"SetEnv": f"PATH={programs}"})

    return make


@contextlib.contextmanager
def a_host(tmp_path: Path, settings: dict[str, object]) -> Iterator[Place]:
    for program in ("flock", "sha256sum", "zstd"):
        needs(program)
    with sshd(tmp_path / "server", tmp_path / "home", settings) as server:
        server.know()
        yield Place(server, tmp_path / "there")


def random_file(path: Path, size_bytes: int) -> Path:
    path.write_bytes(os.urandom(size_bytes))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def age(path: Path, seconds: float) -> None:
    """Make a copy look as if it was used so long ago."""
    then = time.time() - seconds
    for each in (path, path.with_name(path.name + ".note")):
        if each.exists():
            os.utime(each, (then, then))


def test_a_copy_is_whole_private_and_named_by_its_digest(host: Place, vmcore: Path) -> None:
    copy = host.place(vmcore)
    assert (copy.name, sha256(copy)) == (sha256(vmcore), sha256(vmcore))
    assert copy.parent == host.objects / copy.name[:2]
    modes = {path.name: path.stat().st_mode & 0o777 for path in (copy, host.directory)}
    assert modes == {copy.name: 0o400, host.directory.name: 0o700}


def test_a_session_may_lock_a_copy_at_once(host: Place, tmp_path: Path) -> None:
    copy = host.place(random_file(tmp_path / "file", MIB))
    assert subprocess.run([needs("flock"), "-s", "-n", copy, "true"], check=False).returncode == 0


def test_what_compresses_takes_less_on_the_wire(host: Place, vmcore: Path) -> None:
    relay = Relay(bytes_s=4 * MIB)
    host.place(vmcore, relay)
    assert relay.sent_bytes < vmcore.stat().st_size / 2


def test_a_copy_is_sent_once(host: Place, tmp_path: Path) -> None:
    file, relay = random_file(tmp_path / "file", 3 * MIB), Relay()
    first = host.place(file)
    renamed = file.rename(tmp_path / "other name")
    assert host.place(renamed, relay) == first
    assert relay.sent_bytes < 64 << 10


def test_a_known_digest_is_not_made_again(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", MIB)
    digest = sha256(file)
    host.place(file)
    file.write_bytes(bytes(MIB))
    assert host.place(file, digest=f"sha256:{digest}").name == digest


def test_a_digest_of_another_kind_is_not_believed(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", MIB)
    assert host.place(file, digest="sha256-4MiB:" + "0" * 64).name == sha256(file)


@pytest.mark.parametrize("size_bytes", [0, 1, 64 << 10, (64 << 10) + 1, 2 * MIB + 17])
def test_files_of_any_size_arrive(host: Place, tmp_path: Path, size_bytes: int) -> None:
    file = random_file(tmp_path / "file", size_bytes)
    assert sha256(host.place(file)) == sha256(file)


def test_holes_stay_holes(host: Place, tmp_path: Path) -> None:
    file, relay = tmp_path / "sparse", Relay()
    with file.open("wb") as sparse:
        sparse.write(b"head")
        sparse.truncate(64 * MIB)
    copy = host.place(file, relay)
    assert sha256(copy) == sha256(file)
    assert copy.stat().st_blocks * 512 < MIB
    assert relay.sent_bytes < MIB


@pytest.mark.parametrize(
    "name", ["a b", "'\"", "$(touch x);`id`", "-rf", "line\nbreak", "\x1b[31m"]
)
def test_names_are_inert(host: Place, tmp_path: Path, name: str) -> None:
    file = random_file(tmp_path / name, 4096)
    host.directory = tmp_path / "there" / f"d{name}".replace("\n", "").replace("\x1b", "")
    assert sha256(host.place(file)) == sha256(file)
    assert all(line.isprintable() for line in host.told.lines)


@pytest.mark.long
def test_a_cut_transfer_goes_on_where_it_stopped(host: Place, tmp_path: Path) -> None:
    file, rest = random_file(tmp_path / "file", 24 * MIB), Relay()
    with pytest.raises(HostLost, match="the connection broke"):
        host.place(file, Relay(cut_after=12 * MIB))
    assert sha256(host.place(file, rest)) == sha256(file)
    assert rest.sent_bytes < 16 * MIB


def test_a_cut_compressed_transfer_goes_on_where_it_stopped(host: Place, vmlinux: Path) -> None:
    with pytest.raises(HostLost):
        host.place(vmlinux, Relay(cut_after=8 * MIB))
    begun = wait_until_free(host)
    assert sha256(host.place(vmlinux)) == sha256(vmlinux)
    assert MIB < host.told.offset == begun // BLOCK_BYTES * BLOCK_BYTES


def test_a_changed_copy_is_replaced(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", MIB)
    copy = host.place(file)
    times = copy.stat()
    copy.chmod(0o600)
    with copy.open("r+b") as changed:
        changed.write(b"changed")
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert sha256(host.place(file)) == sha256(file)
    assert any("was damaged" in line for line in host.told.lines)


def test_a_copy_from_before_a_reboot_is_checked_again(host: Place, tmp_path: Path) -> None:
    file, relay = random_file(tmp_path / "file", MIB), Relay()
    copy = host.place(file)
    note = copy.with_name(copy.name + ".note")
    kept = note.read_text()
    note.write_text(kept[:-10] + "otherboot\n")
    assert host.place(file, relay) == copy
    assert (note.read_text(), relay.sent_bytes < 64 << 10) == (kept, True)


def test_a_damaged_beginning_is_noticed_and_sent_anew(host: Place, tmp_path: Path) -> None:
    file, digest = random_file(tmp_path / "file", 2 * MIB), ""
    digest = sha256(file)
    part = host.objects / digest[:2] / f"{digest}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(MIB))
    assert sha256(host.place(file)) == digest
    assert any("is damaged" in line for line in host.told.lines)
    assert not part.exists()


def test_a_beginning_that_is_too_long_is_begun_anew(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", MIB)
    digest = sha256(file)
    part = host.objects / digest[:2] / f"{digest}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(2 * MIB))
    assert sha256(host.place(file)) == digest


def test_two_at_once_send_it_once(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", 16 * MIB)
    relays = [Relay(bytes_s=16 * MIB), Relay(bytes_s=16 * MIB)]
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda relay: host.place(file, relay), relays)
    assert (first, sha256(first)) == (second, sha256(file))
    assert sum(relay.sent_bytes for relay in relays) < 24 * MIB


def test_the_second_goes_on_when_the_first_is_killed(host: Place, tmp_path: Path) -> None:
    file, relay = random_file(tmp_path / "file", 32 * MIB), Relay()
    words = (host.server.home, host.server.port, host.directory, file, Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", SENDER, *map(str, words)]) as sender:
        wait_for(lambda: any(path.stat().st_size > MIB for path in host.objects.glob("*/*.part")))
        with ThreadPoolExecutor() as pool:
            second = pool.submit(host.place, file, relay)
            wait_for(lambda: any("Waiting" in line for line in host.told.lines))
            sender.kill()
            assert sha256(second.result()) == sha256(file)
    assert relay.sent_bytes < 31.5 * MIB


SENDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop())
from relay import Relay
from cas.settings.rules import HostRules
from cas.hosts.transfer.copies import Copies
from cas.hosts.link import Link
from cas.progress import Silent
from cas.ssh import Destination, LoginOptions, logged_in
home, port, directory, file = sys.argv[1:]
reach = Relay(bytes_s=4 << 20)
with logged_in(Destination("127.0.0.1", int(port)), LoginOptions(Path(home)), reach) as connection:
    with Link(connection, 15) as link:
        Copies(link, HostRules(directory=directory), Silent()).place_copy(Path(file))
"""


def wait_until_free(host: Place) -> int:
    """The size of the only beginning of a copy, when nobody writes it any more."""
    (part,) = host.objects.glob("*/*.part")
    subprocess.run([needs("flock"), part, "true"], check=True)
    return part.stat().st_size


def is_locked(path: Path) -> bool:
    return subprocess.run([needs("flock"), "-n", path, "true"], check=False).returncode == 1


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


@pytest.mark.parametrize("codec", ["zstd", "gzip", "cat"])
def test_a_sender_that_stands_still_does_not_hold_the_copy(tmp_path: Path, codec: str) -> None:
    patience_s = "1"
    argv = ["sh", "-c", PLACE, "cas", tmp_path, "0" * 64, "1000000", f"{codec} cat", patience_s]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as script:
        assert script.stdout and script.stdin
        said = script.stdout.read().decode().split("\n")
        script.stdin.close()
    assert said[-2].startswith("short 0 137 ")


@pytest.mark.long
def test_a_host_without_zstd_gets_gzip(
    host_with: Callable[..., AbstractContextManager[Place]], vmcore: Path
) -> None:
    relay = Relay(bytes_s=4 * MIB)
    with host_with() as host:
        assert sha256(host.place(vmcore, relay)) == sha256(vmcore)
    assert relay.sent_bytes < vmcore.stat().st_size / 2


def test_a_host_that_has_busybox_takes_copies(tmp_path: Path, vmcore: Path) -> None:
    applets = tmp_path / "applets"
    applets.mkdir()
    subprocess.run([needs("busybox"), "--install", "-s", applets], check=True)
    (applets / "flock").unlink(missing_ok=True)
    (applets / "flock").symlink_to(needs("flock"))
    with a_host(tmp_path, {"SetEnv": f"PATH={applets}"}) as host:
        with pytest.raises(HostLost):
            host.place(vmcore, Relay(cut_after=4 * MIB))
        begun = wait_until_free(host)
        copy = host.place(vmcore)
        assert (sha256(copy), host.told.offset // MIB) == (sha256(vmcore), begun // MIB)
        assert host.place(vmcore) == copy
        age(copy, 2 * YOUNG_S)
        with host.link() as link:
            host.copies(link).make_room(needed_bytes=1 << 50)
        assert not copy.exists()


def test_a_host_without_any_unpacker_gets_it_plain(
    host_with: Callable[..., AbstractContextManager[Place]], vmcore: Path
) -> None:
    tools = tuple(name for name in TOOLS if name != "gzip")
    with host_with(tools) as host:
        assert sha256(host.place(vmcore)) == sha256(vmcore)


def test_a_host_without_a_needed_program_is_told(
    host_with: Callable[..., AbstractContextManager[Place]], vmcore: Path
) -> None:
    tools = tuple(name for name in TOOLS if name != "flock")
    with host_with(tools) as host, pytest.raises(HostUnfit, match="it has no program flock"):
        host.place(vmcore)


def test_a_host_that_lies_about_the_digest_gets_it_twice_and_is_given_up(
    host_with: Callable[..., AbstractContextManager[Place]], tmp_path: Path
) -> None:
    file, relay = random_file(tmp_path / "file", MIB), Relay()
    lie = f"cat > /dev/null; echo {'0' * 64}"
    with host_with(sha256sum=lie) as host, pytest.raises(HostUnfit, match="twice"):
        host.place(file, relay)
    assert 2 * MIB < relay.sent_bytes < 3 * MIB


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(
            "while :; do echo 'at 1" + "\nat 1" * 300 + "'; done",
            "without end",
            marks=pytest.mark.long,
        ),
        ("exec cat /dev/zero", "without end"),
        (
            "printf 'send 0 0 9 9 zstd ,sparse\\nhave\\n' >&2; printf 'in \\033[31m\\n'",
            "makes no sense",
        ),
        ("echo 'send 99999999999999999999 0 9 9 cat ,full'", "makes no sense"),
        ("echo have", "where its copies are"),
        ("echo done", "nobody asked"),
        ("echo 'cannot create it' >&2; exit 1", "cannot create it"),
        ("exit 0", "was ended"),
    ],
    ids=["lines", "zeros", "sequences", "a large number", "have", "done", "an error", "nothing"],
)
def test_a_host_that_says_what_no_script_of_ours_does_is_given_up(
    host_with: Callable[..., AbstractContextManager[Place]],
    tmp_path: Path,
    answer: str,
    said: str,
) -> None:
    file = random_file(tmp_path / "file", MIB)
    with (
        host_with(("bash", "cat"), sh=answer) as host,
        pytest.raises(HostUnfit, match=said) as told,
    ):
        host.place(file)
    assert str(told.value).isprintable()


def test_a_stopped_host_is_noticed(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", 64 * MIB)

    def stop_soon() -> None:
        wait_for(lambda: any(path.stat().st_size > MIB for path in host.objects.glob("*/*.part")))
        host.server.stop()

    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(stop_soon)
        with pytest.raises(HostLost, match="no sign of life for 5 s"):
            host.place(file, Relay(bytes_s=32 * MIB))
        stopped.result()


@pytest.mark.long
def test_a_slow_link_is_not_taken_for_a_lost_one(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", 3 * MIB)
    options = LoginOptions(host.server.home)
    destination = Destination("127.0.0.1", host.server.port)
    slow = Relay(bytes_s=MIB // 3)  # the server takes in 2 MiB before it has to answer
    with logged_in(destination, options, slow) as connection, Link(connection, 4.5) as link:
        assert sha256(Path(host.copies(link).place_copy(file))) == sha256(file)


@pytest.fixture
def small_disk(host: Place) -> Iterator[Place]:
    if os.geteuid():
        pytest.skip("only root mounts")
    host.directory.mkdir()
    mount = [needs("mount"), "-t", "tmpfs", "-o", "size=8m", "cas-test", host.directory]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount")
    yield host
    subprocess.run([needs("umount"), "-l", host.directory], check=True)


def test_nothing_is_sent_where_there_is_no_room(small_disk: Place, tmp_path: Path) -> None:
    file, relay = random_file(tmp_path / "file", 16 * MIB), Relay()
    with pytest.raises(NoRoom, match=r"no room for file: needs 16\.0 MiB, has [78]\.\d MiB"):
        small_disk.place(file, relay)
    assert relay.sent_bytes < 64 << 10


def test_a_disk_that_fills_up_is_told_and_the_copy_goes_on_later(
    small_disk: Place, tmp_path: Path
) -> None:
    file, rest = random_file(tmp_path / "file", 6 * MIB), Relay()
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(small_disk.place, file, Relay(bytes_s=3 * MIB))
        wait_for(lambda: any(p.stat().st_size > MIB for p in small_disk.objects.glob("*/*.part")))
        other = random_file(small_disk.directory / "other", 4 * MIB)
        with pytest.raises(NoRoom, match=r"needs .* has 0 bytes"):
            sending.result()
    other.unlink()
    assert sha256(small_disk.place(file, rest)) == sha256(file)
    assert rest.sent_bytes < 5 * MIB


def test_a_size_limit_of_the_host_is_told(
    host_with: Callable[..., AbstractContextManager[Place]], tmp_path: Path
) -> None:
    file = random_file(tmp_path / "file", 4 * MIB)
    limited = f"ulimit -f 2048; trap '' XFSZ; exec {needs('sh')} \"$@\""
    with (
        host_with(sh=limited) as host,
        pytest.raises(
            HostUnfit, match=r"stopped writing file at [12]\.0 MiB of 4\.0 MiB: .*too large"
        ),
    ):
        host.place(file)


def test_room_is_made_before_a_copy_is_refused(small_disk: Place, tmp_path: Path) -> None:
    old = small_disk.place(random_file(tmp_path / "old", 5 * MIB))
    age(old, YOUNG_S + 1)
    new = small_disk.place(random_file(tmp_path / "new", 5 * MIB))
    assert (old.exists(), new.exists()) == (False, True)


def test_a_directory_that_cannot_be_written_is_told(host: Place, tmp_path: Path) -> None:
    host.directory.write_text("a file")
    with pytest.raises(HostUnfit, match=r"(Not a directory|File exists)"):
        host.place(random_file(tmp_path / "file", MIB))


def test_our_own_unreadable_file_is_no_fault_of_the_host(host: Place, tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match=r"cannot read .*missing"):
        host.place(tmp_path / "missing")


def test_the_longest_unused_copies_go_first(host: Place, tmp_path: Path) -> None:
    copies = [host.place(random_file(tmp_path / str(number), MIB)) for number in range(4)]
    for number, copy in enumerate(copies[:3]):
        age(copy, YOUNG_S * (4 - number))
    with host.link() as link:
        host.copies(link, cache_bytes=2 * MIB + 4096).make_room()
    assert [copy.exists() for copy in copies] == [False, False, True, True]
    assert host.told.lines[-1] == f"Removed 2 old files on 127.0.0.1:{host.server.port}"


def test_a_copy_in_use_stays(host: Place, tmp_path: Path) -> None:
    copies = [host.place(random_file(tmp_path / str(number), MIB)) for number in range(2)]
    for copy in copies:
        age(copy, 2 * YOUNG_S)
    with (
        subprocess.Popen([needs("flock"), "-s", copies[0], "sleep", "60"]) as user,
        host.link() as link,
    ):
        wait_for(
            lambda: subprocess.run(["flock", "-n", copies[0], "true"], check=False).returncode == 1
        )
        host.copies(link).make_room(needed_bytes=1 << 50)
        user.terminate()
    assert [copy.exists() for copy in copies] == [True, False]


def test_a_copy_that_was_just_asked_for_stays(host: Place, tmp_path: Path) -> None:
    file = random_file(tmp_path / "file", MIB)
    copy = host.place(file)
    age(copy, 2 * YOUNG_S)
    host.place(file)
    with host.link() as link:
        host.copies(link).make_room(needed_bytes=1 << 50)
    assert copy.exists()


def test_beginnings_that_nobody_went_on_with_go(host: Place, tmp_path: Path) -> None:
    copy = host.place(random_file(tmp_path / "file", MIB))
    parts = [copy.with_name(f"{copy.name[:2]}{digit * 62}.part") for digit in "123"]
    for part in parts:
        part.write_bytes(b"begun")
        age(part, PART_S + 1)
    age(parts[0], PART_S / 2)
    with (
        subprocess.Popen([needs("flock"), parts[1], "sleep", "60"]) as user,
        host.link() as link,
    ):
        wait_for(
            lambda: subprocess.run(["flock", "-n", parts[1], "true"], check=False).returncode == 1
        )
        host.copies(link).make_room()
        user.terminate()
    assert [path.exists() for path in (copy, *parts)] == [True, True, True, False]


def test_nothing_is_cleaned_where_nothing_is(host: Place) -> None:
    with host.link() as link:
        host.copies(link).make_room(needed_bytes=1 << 50)
    assert host.told.lines == []


def test_what_is_removed_is_enough_and_no_more() -> None:
    copies = [Copy(str(age_s), age_s, 10, is_busy=age_s == 5000) for age_s in range(0, 9000, 1000)]
    assert superfluous(copies, 0) == []
    assert superfluous(copies, 30) == ["8000", "7000", "6000"]
    assert superfluous(copies, 1000) == ["8000", "7000", "6000", "4000", "3000", "2000", "1000"]


def test_a_directory_is_shared_when_a_new_file_is_seen_there(host: Place, tmp_path: Path) -> None:
    work = tmp_path / "wo rk;'\n"
    work.mkdir()
    with host.link() as link:
        assert sees_directory(link, work)
    assert list(work.iterdir()) == []


def test_equal_paths_are_not_shared(
    host_with: Callable[..., AbstractContextManager[Place]], tmp_path: Path
) -> None:
    blind = "exec sh -c 'exit 1'"
    with host_with((*TOOLS, "env"), head=blind) as host, host.link() as link:
        assert not sees_directory(link, tmp_path)


def test_the_same_files_are_seen_by_name_and_size(host: Place, tmp_path: Path) -> None:
    files = [random_file(tmp_path / name, 100) for name in ("a b", "c;d")]
    with host.link() as link:
        assert see_the_same(link, files)
