"""The cache of extracted files: what is in use stays, what has changed is not used."""

import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue.cache import inspection, lease, limits
from cas.catalogue.cache.clock import Trace, file_time
from cas.catalogue.cache.entry import GROWN, Entry, find_cached, lock_file_of, read_seals
from cas.catalogue.cache.listing import holdings
from cas.catalogue.cache.placing import TEMPORARY, Place
from cas.catalogue.extraction import extract
from cas.errors import ConfigError
from cas.files.lease import IN_USE
from cas.model.kernel import Kernel, KernelIdentity, Match
from cas.progress import Silent
from cas.settings.rules import CacheRules

from installed import needs

MEMBER = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"
DAY_S = 86_400
MIB = 1 << 20
HOLD = """
import sys, time
from pathlib import Path
from cas.catalogue.cache import lease
with lease.on_file(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""
TRIM = """
import sys, time
from pathlib import Path
from cas.catalogue.cache import limits
from cas.settings.rules import CacheRules
limits.trim(Path(sys.argv[1]), CacheRules(limit_bytes=1), time.time())
"""


class Told(Silent):
    """Keeps what was warned of."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "debugs"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {MEMBER: kp.vmlinux("one", padding=300_000)}
    return kp.build(kp.Recipe(files, payload="w1.gzdio"), tmp_path_factory.mktemp("package"))


def kernel(word: str, source: Path = Path("/nowhere.rpm")) -> Kernel:
    return Kernel(kp.RELEASE, "x86_64", source, MEMBER, build_id=kp.build_id(word))


def filled(cache: Path, word: str, size_bytes: int = 0, days: float = 0) -> Path:
    """An entry with a vmlinux of about this size and a kmod, last used so many days ago."""
    entry = Entry(cache, kernel(word))
    with entry.locked(Silent()):
        content = [kp.vmlinux(word), b"x" * size_bytes]
        entry.put(Place(entry.vmlinux, size_bytes), content)
        entry.put(Place(entry.kmods / "xfs.ko.debug", 0), [kp.elf(kp.build_id("kmod"))])
        entry.remember_kernel()
    then = time.time() - days * DAY_S
    with lease.held(cache, kernel(word)):
        pass
    for path in entry.directory.iterdir():
        os.utime(path, (then, then))
    return entry.directory


def trimmed(cache: Path, **rules: int) -> limits.Trimmed:
    now = time.time()
    return limits.trim(cache, CacheRules(**rules), now, daily(now))


def daily(now: float) -> list[Trace]:
    """Something was done here on each of the last 500 days."""
    return [Trace(file_time(now - day * DAY_S), "a build") for day in range(500)]


def left(cache: Path) -> set[str]:
    return {holding.entry.name for holding in holdings(cache)}


def ids(*words: str) -> set[str]:
    return set(map(kp.build_id, words))


def overwrite(path: Path, content: bytes) -> None:
    """As a stray program would: in place, without a trace in size and time of modification."""
    state = path.stat()
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(0o400)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    overwrite(path, bytes(content))


def matched(package: Path) -> Match:
    return Match(kernel("one", package), "build-id", "")


@contextlib.contextmanager
def holder(cache: Path, entry: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses an entry."""
    argv = [sys.executable, "-c", HOLD, str(cache), str(entry / "vmlinux")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_changed_vmlinux_is_extracted_again_with_a_warning(package: Path, cache: Path) -> None:
    told = Told()
    path = extract.extract_vmlinux(matched(package), cache, told)
    flip(path)
    assert extract.extract_vmlinux(matched(package), cache, told) == path
    assert path.read_bytes() == kp.vmlinux("one", padding=300_000)
    assert told.warned == [f"{path} has changed since it was extracted: it is made anew"]
    assert list(inspection.entry_flaws(cache)) == []


def test_a_copied_cache_is_verified_once_and_goes_on(cache: Path, tmp_path: Path) -> None:
    filled(cache, "one")
    copied = tmp_path / "copy"
    subprocess.run(["cp", "-r", cache, copied], check=True)
    entry = Entry(copied, kernel("one"))
    assert not read_seals(entry.directory)["vmlinux"].is_untouched(entry.vmlinux)
    assert entry.has_vmlinux()
    assert read_seals(entry.directory)["vmlinux"].is_untouched(entry.vmlinux)


def test_another_packages_vmlinux_is_not_taken_for_ours(cache: Path) -> None:
    filled(cache, "one")
    right = hashlib.sha256(kp.vmlinux("one")).hexdigest()
    assert Entry(cache, replace(kernel("one"), digest=f"sha256:{right}")).has_vmlinux()
    assert not Entry(cache, replace(kernel("one"), digest=f"sha256:{'0' * 64}")).has_vmlinux()
    assert Entry(cache, replace(kernel("one"), digest=f"md5:{'0' * 32}")).has_vmlinux()


def test_a_changed_kmod_is_not_sound(cache: Path) -> None:
    entry = Entry(cache, kernel("one"))
    kmod = filled(cache, "one") / "kmods/xfs.ko.debug"
    assert entry.sound([kmod, entry.vmlinux]) == {kmod, entry.vmlinux}
    flip(kmod)
    assert entry.sound([kmod, entry.vmlinux]) == {entry.vmlinux}
    with entry.locked(Silent()):
        assert not kmod.exists()


def test_an_entry_of_before_digests_is_used_and_gets_them_when_verified(cache: Path) -> None:
    directory = filled(cache, "one")
    for name in ("digests.json", "in-use"):
        (directory / name).unlink()
    assert Entry(cache, kernel("one")).has_vmlinux()
    assert list(inspection.verify(cache, lambda _: None, repair=False)) == []
    assert set(read_seals(directory)) == {"vmlinux", "kmods/xfs.ko.debug"}
    flip(directory / "kmods/xfs.ko.debug")
    (fault,) = inspection.verify(cache, lambda _: None, repair=False)
    assert fault.what == "has another content than was extracted"


@pytest.mark.parametrize("record", [b"", b"[]", b'{"version": 1, "files": {"vmlinux": 7}}'])
def test_a_record_of_digests_that_says_nothing_does_no_harm(record: bytes, cache: Path) -> None:
    digests = filled(cache, "one") / "digests.json"
    digests.chmod(0o600)
    digests.write_bytes(record)
    assert Entry(cache, kernel("one")).has_vmlinux()


def test_verify_names_what_is_wrong_and_what_is_foreign(cache: Path) -> None:
    one, two = filled(cache, "one"), filled(cache, "two")
    flip(one / "vmlinux")
    (two / f"{TEMPORARY}old").touch()
    (two / "notes.txt").touch()
    (cache / "precious").mkdir()
    found = {str(fault.path.relative_to(cache)): fault for fault in _verified(cache)}
    assert {name: fault.what for name, fault in found.items()} == {
        "precious": "is nothing that cas puts there",
        f"{one.name}/vmlinux": "has another content than was extracted",
        f"{two.name}/{TEMPORARY}old": "was being extracted when a run was stopped",
        f"{two.name}/notes.txt": "is nothing that cas puts there",
    }
    assert (one / "vmlinux").exists()


def _verified(cache: Path, *, repair: bool = False) -> list[inspection.Fault]:
    return list(inspection.verify(cache, lambda _: None, repair=repair))


def test_a_repair_removes_only_what_is_wrong_and_not_in_use(cache: Path) -> None:
    one, two = filled(cache, "one"), filled(cache, "two")
    flip(one / "vmlinux")
    flip(two / "vmlinux")
    (one / "notes.txt").touch()
    with lease.held(cache, kernel("two")):
        _verified(cache, repair=True)
    assert not (one / "vmlinux").exists()
    assert (two / "vmlinux").exists()
    assert (one / "notes.txt").exists()
    _verified(cache, repair=True)
    assert list(inspection.entry_flaws(cache)) == []


def test_a_quick_look_at_flaws_reads_no_contents(cache: Path) -> None:
    kmod = filled(cache, "one") / "kmods/xfs.ko.debug"
    flip(kmod)
    assert list(inspection.entry_flaws(cache, with_digests=False)) == []
    assert [fault.path for fault in inspection.entry_flaws(cache)] == [kmod]


def test_the_least_recently_used_go_until_the_target_is_reached(cache: Path) -> None:
    for days, word in enumerate(("now", "one", "two", "three")):
        filled(cache, word, MIB, days)
    found = trimmed(cache, limit_bytes=4 * MIB, target_bytes=5 * MIB // 2)
    assert {removal.holding.entry.name for removal in found.removed} == ids("two", "three")
    assert {removal.why for removal in found.removed} == {"the cache held more than 4.0 MiB"}
    assert left(cache) == ids("now", "one")
    assert found.left_bytes == sum(holding.size_bytes for holding in holdings(cache))


def test_nothing_goes_below_the_limit(cache: Path) -> None:
    filled(cache, "one", MIB)
    assert trimmed(cache, limit_bytes=2 * MIB, target_bytes=1).removed == ()


def test_what_is_unused_for_long_goes_whatever_the_limit(cache: Path) -> None:
    filled(cache, "old", days=8)
    filled(cache, "new", days=6)
    (removal,) = trimmed(cache, days=7).removed
    assert removal.why == "unused for more than 7 days"
    assert left(cache) == ids("new")


@pytest.mark.parametrize("years", [2, -2])
def test_a_clock_that_jumped_makes_no_kernel_old(cache: Path, years: int) -> None:
    filled(cache, "new", days=1)
    filled(cache, "old", days=100)
    now = time.time() + years * 365 * DAY_S
    for number in range(2):  # the second run finds the traces of the first
        traces = [*daily(time.time()), *[Trace(file_time(now), "a build")] * number]
        found = limits.trim(cache, CacheRules(days=90), now, traces)
        assert found.removed == ()
    if years > 0:
        assert "nothing was done here between" in (found.doubt or "")
    assert left(cache) == ids("new", "old")


def test_a_use_is_noted(cache: Path) -> None:
    filled(cache, "old", days=8)
    with lease.held(cache, kernel("old")):
        pass
    assert trimmed(cache, days=7).removed == ()


def test_an_entry_without_a_noted_use_counts_as_used_when_it_was_read(cache: Path) -> None:
    directory = filled(cache, "old", days=8)
    (directory / "in-use").unlink()
    os.utime(directory / "vmlinux")
    assert trimmed(cache, days=7).removed == ()


def test_what_another_process_uses_stays_until_it_is_killed(cache: Path) -> None:
    directory = filled(cache, "one", MIB)
    with holder(cache, directory) as process:
        (kept,) = trimmed(cache, limit_bytes=1).kept
        assert kept.why == "it is in use"
        assert not limits.discard(cache, directory.name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert limits.discard(cache, directory.name)
    assert not directory.exists()
    assert limits.discard(cache, directory.name)


def test_what_is_being_extracted_stays(cache: Path) -> None:
    filled(cache, "one")
    with Entry(cache, kernel("one")).locked(Silent()):
        assert trimmed(cache, limit_bytes=1).removed == ()


def test_only_left_overs_by_our_names_are_removed(cache: Path) -> None:
    ours = filled(cache, "one").rename(cache / f".removed-{kp.build_id('one')}-0123abcd")
    foreign = [cache / ".removed-x", cache / f".removed-{'0' * 40}", cache / ".removed-a-0123abcd"]
    for directory in foreign:
        directory.mkdir()
    faults = inspection.verify(cache, lambda _: None, repair=False)
    found = {fault.path for fault in faults if fault.what == "is half removed"}
    assert found == {ours}
    trimmed(cache)
    assert not ours.exists()
    assert all(directory.exists() for directory in foreign)


def test_a_plan_removes_nothing(cache: Path) -> None:
    filled(cache, "one", days=400)
    now = time.time()
    plan = limits.trim(cache, CacheRules(), now, daily(now), only_plan=True)
    assert len(plan.removed) == 1
    assert left(cache) == ids("one")


def test_holes_and_second_names_take_no_room(cache: Path) -> None:
    one = filled(cache, "one", MIB)
    two = filled(cache, "two")
    os.link(one / "vmlinux", two / "kmods/linked.ko")
    with (two / "kmods/sparse.ko").open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert MIB < sum(holding.size_bytes for holding in holdings(cache)) < 2 * MIB


def test_what_is_no_entry_is_never_touched(cache: Path) -> None:
    filled(cache, "one")
    (cache / "precious").mkdir()
    (cache / "precious/vmlinux").write_bytes(b"x" * MIB)
    (cache / kp.build_id("link")).symlink_to(cache / "precious")
    trimmed(cache, limit_bytes=1)
    assert (cache / "precious/vmlinux").exists()
    assert limits.discard(cache, "precious")
    assert limits.discard(cache, "../debugs/precious")
    assert (cache / "precious/vmlinux").exists()


def test_the_limits_are_looked_at_only_after_something_was_added(cache: Path) -> None:
    rules = CacheRules(limit_bytes=1)
    filled(cache, "one", days=1)
    with lease.held(cache, kernel("one")):
        assert len(limits.trim_if_grown(cache, rules, time.time()).kept) == 1
    assert limits.trim_if_grown(cache, rules, time.time()) == limits.Trimmed()
    filled(cache, "two")
    assert len(limits.trim_if_grown(cache, rules, time.time()).removed) == 2


def test_a_removed_entry_is_not_found_and_can_be_filled_again(
    package: Path, cache: Path, dump: Callable[..., KernelIdentity]
) -> None:
    path = extract.extract_vmlinux(matched(package), cache, Silent())
    wanted = dump(build_id=kp.build_id("one"))
    assert find_cached(wanted, cache)
    assert limits.discard(cache, kp.build_id("one"))
    assert find_cached(wanted, cache) is None
    assert extract.extract_vmlinux(matched(package), cache, Silent()) == path
    assert find_cached(wanted, cache)


def test_a_cache_that_is_no_directory_names_the_directive(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="debugs: "), lease.held(tmp_path / "file", kernel("one")):
        pass


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("rename", 1),
        ("unlinkat", 3),
        pytest.param("unlinkat", 1, marks=pytest.mark.long),
        pytest.param("unlink", 1, marks=pytest.mark.long),
    ],
)
def test_a_removal_that_was_killed_is_finished(call: str, number: int, cache: Path) -> None:
    for word in ("one", "two"):
        filled(cache, word)
    done = killed(f"{call}:signal=SIGKILL:when={number}", TRIM, cache)
    assert done in (0, -signal.SIGKILL)
    for directory in (cache / name for name in left(cache)):  # whole, or not there
        assert (directory / "vmlinux").exists()
        assert (directory / "kmods/xfs.ko.debug").exists()
    trimmed(cache, limit_bytes=1)
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []


def killed(injected: str, script: str, *words: Path) -> int:
    """The status of a script that is killed in the middle of a system call."""
    argv = [needs("strace"), "-f", "-o", os.devnull, "-e", f"inject={injected}"]
    return subprocess.run([*argv, sys.executable, "-c", script, *words], check=False).returncode


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_an_extraction_that_was_killed_leaves_no_half_file(
    call: str, package: Path, cache: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from cas.catalogue.extraction import extract\n"
        "from cas.model.kernel import Kernel, Match; from cas.progress import Silent\n"
        f"kernel = Kernel({kp.RELEASE!r}, 'x86_64', Path(sys.argv[1]), {MEMBER!r}, "
        f"{kp.build_id('one')!r})\n"
        "extract.extract_vmlinux(Match(kernel, '', ''), Path(sys.argv[2]), Silent())\n"
    )
    assert killed(f"{call}:signal=SIGKILL:when=1", script, package, cache) == -signal.SIGKILL
    directory = cache / kp.build_id("one")
    assert list(directory.glob(TEMPORARY + "*")) or (directory / "vmlinux").exists()
    trimmed(cache, days=1)
    assert list(directory.glob(TEMPORARY + "*")) == []
    path = extract.extract_vmlinux(matched(package), cache, Silent())
    assert path.read_bytes() == kp.vmlinux("one", padding=300_000)
    assert list(inspection.entry_flaws(cache)) == []


USE = """
import os, sys, time
from pathlib import Path
from cas.catalogue.extraction import extract
from cas.catalogue.cache import lease
from cas.model.kernel import Kernel, Match
from cas.progress import Silent
cache, package, build_id, member, release = sys.argv[1:]
kernel = Kernel(release, "x86_64", Path(package), member, build_id)
seen = set()
while len(seen) < 3:  # it was extracted again so many times
    with lease.held(Path(cache), kernel):
        path = extract.extract_vmlinux(Match(kernel, "", ""), Path(cache), Silent())
        first = path.stat()
        for _ in range(5):
            time.sleep(0.002)
            again = path.stat()
            assert (again.st_ino, again.st_ctime_ns) == (first.st_ino, first.st_ctime_ns)
    seen.add(first.st_ctime_ns)
    time.sleep(0.002)
"""
KEEP_TRIMMING = """
import sys, time
from pathlib import Path
from cas.catalogue.cache import limits
from cas.settings.rules import CacheRules
while True:
    limits.trim(Path(sys.argv[1]), CacheRules(limit_bytes=1), time.time())
    time.sleep(0.002)
"""


def test_jobs_and_trims_side_by_side_do_no_harm(package: Path, cache: Path) -> None:
    def start(*words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", *words])

    facts = (str(package), kp.build_id("one"), MEMBER, kp.RELEASE)
    jobs = [start(USE, str(cache), *facts) for _ in range(2)]
    trim = start(KEEP_TRIMMING, str(cache))
    assert [job.wait() for job in jobs] == [0, 0]
    assert trim.poll() is None
    trim.kill()
    trim.wait()
    trimmed(cache, limit_bytes=1)
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []


def test_the_record_of_digests_is_json(cache: Path) -> None:
    digests = filled(cache, "one") / "digests.json"
    record = json.loads(digests.read_text())
    assert record["version"] == 1
    assert record["files"]["vmlinux"]["size_bytes"] == len(kp.vmlinux("one"))


def test_a_cache_with_the_setgid_bit_is_its_groups(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o2770)
    entry = filled(cache, "one")
    seen = {path: stat.S_IMODE(path.stat().st_mode) for path in cache.rglob("*")}
    assert {mode for path, mode in seen.items() if path.is_dir()} == {0o2770}
    assert seen[entry / "vmlinux"] == seen[entry / "digests.json"] == 0o440
    assert seen[entry / IN_USE] == seen[lock_file_of(entry)] == seen[cache / GROWN] == 0o660
