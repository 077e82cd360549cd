"""Root, ``casuser`` and other users: who does what, and what is said where one may not."""

from __future__ import annotations

import grp
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_users import GROUP, OTHER, THIRD, SharedSite, shared_site
from postgresql import postgresql

from installed import FIXTURES

BUILD_ID = "81561b88fc316209f6d1adc62e3e31a14f1760c3"


@pytest.fixture
def shared_a() -> Iterator[SharedSite]:
    """A site of the user nobody, whom root gives way to."""
    with shared_site(FIXTURES / "a") as site:
        site.settings |= {"casuser": OTHER, "engine": "drgn"}
        site.keep_snippets("sys", "traceback")
        site.own(OTHER, "cores", "debugs", "db")
        yield site


def roots_upload(site: SharedSite, vmcore: Path) -> Path:
    """A dump that only root can read, as kdump leaves it in ``/var/crash``."""
    upload = site.directory / "root" / "vmcore"
    shutil.copy(vmcore, upload)
    upload.chmod(0o600)
    return upload


@pytest.mark.early
def test_root_gives_way_to_casuser(shared_a: SharedSite, vmcore_b: Path) -> None:
    """The job waits for its kernel: its debugger would run as whoever the program is by then."""
    shared_a.settings["storage"] = "reference"
    upload = roots_upload(shared_a, vmcore_b)
    done = shared_a.cas("-i", "T-1", "-f", upload)
    assert done.returncode == 6, done.stderr
    assert "Taking over vmcore" in done.stderr
    assert f"{upload} was copied and stays where it is: only root can open it" in done.stderr
    job = shared_a.job("T-1")
    assert (job / "vmcore" / "vmcore").read_bytes() == vmcore_b.read_bytes()
    assert not (job / "download").exists()
    for place in ("cores", "debugs", "db"):
        assert shared_a.owners(place) == {OTHER}
    done = shared_a.as_user(OTHER, "cas-admin", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    done = shared_a.as_user(OTHER, "cas", "identify", upload)
    assert done.returncode == 4
    assert f"{upload} cannot be read: Permission denied; {upload.parent} belongs to root" in (
        done.stderr
    )


def test_a_packed_dump_that_only_root_reads_is_unpacked_by_casuser(shared_a: SharedSite) -> None:
    upload = shared_a.directory / "vmcore.xz"
    upload.write_bytes((FIXTURES / "a" / "vmcore.elf.xz").read_bytes())
    upload.chmod(0o600)
    done = shared_a.cas("identify", upload)
    assert done.returncode == 0, done.stderr
    assert "* Taking over vmcore.xz\n" in done.stderr
    assert f"path           {upload}" in done.stdout
    del shared_a.settings["casuser"]
    done = shared_a.cas("identify", upload)
    assert (done.returncode, "Taking over" in done.stderr) == (0, False)


@pytest.mark.long
def test_an_archive_that_only_root_reads_is_called_as_it_was_given(shared_a: SharedSite) -> None:
    upload = shared_a.directory / "root" / "crash.tar"
    with tarfile.open(upload, "w") as archive:
        archive.add(FIXTURES / "b" / "vmcore.kdump", "vmcore")
    upload.chmod(0o600)
    empty = shared_a.directory / "root" / "vmcore"
    empty.touch(0o600)
    done = shared_a.cas("-i", "T-1", "-f", upload, "--member", "vmcore.1")
    assert done.returncode == 4, done.stderr
    assert "! crash.tar holds no dump called vmcore.1; it holds vmcore\n" in done.stderr
    assert f"! {empty} is empty\n" in shared_a.cas("identify", empty).stderr
    none = empty.with_name("none")
    assert f"cannot read {none}: No such file" in shared_a.cas("-i", "T-1", "-f", none).stderr


def test_known_issues_that_only_root_reads_are_tried(shared_a: SharedSite) -> None:
    issues = shared_a.directory / "root" / "known.toml"
    issues.write_text(
        '[[issue]]\nname = "old firmware"\nadvice = "update it"\nwhen.title = "NULL *"\n'
    )
    issues.chmod(0o600)
    done = shared_a.admin("known", "--test", issues)
    assert (done.returncode, done.stdout) == (1, "0 of 0 jobs known\n"), done.stdout
    done = shared_a.admin("known", "--test", issues.with_name("none.toml"))
    assert (done.returncode, done.stdout) == (4, "")
    assert f"! cannot read {issues.with_name('none.toml')}: No such file" in done.stderr


def test_no_copy_is_kept_of_a_secret_that_root_names_as_a_dump(shared_a: SharedSite) -> None:
    secret = shared_a.directory / "root" / "shadow"
    secret.write_text("root:$6$salt$digest:20000:0:99999:7:::\n")
    secret.chmod(0o600)
    link = shared_a.directory / "vmcore"
    link.symlink_to(secret)
    done = shared_a.cas("-i", "T-1", "-f", link)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{link} is a text, neither a dump nor a kernel log" in done.stderr
    assert list(shared_a.jobs.iterdir()) == []


def readable(site: SharedSite, vmcore: Path) -> Path:
    """A dump that everybody can read."""
    upload = site.directory / "vmcore"
    shutil.copy(vmcore, upload)
    upload.chmod(0o644)
    return upload


@pytest.mark.long
def test_what_is_roots_is_named_with_the_command_that_mends_it(shared_a: SharedSite) -> None:
    shared_a.settings["kernels"] = str(shared_a.directory / "root")
    for path in (f"debugs/{BUILD_ID}", "cores/T-1/2026.11.30.10.00.00"):
        (shared_a.directory / path).mkdir(mode=0o700, parents=True)
    (shared_a.directory / "db" / "cas.db").touch(0o600)
    wrong = ("cores/T-1", f"debugs/{BUILD_ID}", "db/cas.db")
    places = [shared_a.directory / place for place in wrong]
    command = f"chown -R --from=root {OTHER}: {' '.join(map(str, places))}"
    done = shared_a.admin("index")
    assert done.returncode == 2
    assert "db/cas.db cannot be written: Permission denied; it belongs to root" in done.stderr
    assert f"→ run as root: {command}" in done.stderr
    done = shared_a.admin("check")
    assert (done.returncode, done.stderr.count("error")) == (4, 0)
    assert done.stdout.count(command) == 3, done.stdout
    for told in ("T-1: belongs to root", f"{BUILD_ID}: cannot be read: ", "the database: "):
        assert told in done.stdout
    done = shared_a.admin("cache", "clean")
    assert done.returncode == 0
    assert f"kept {BUILD_ID}, 0 bytes: " in done.stdout
    assert shared_a.run("sh", "-c", command).returncode == 0
    assert shared_a.admin("index").returncode == 0


def test_a_place_that_is_closed_is_said_alike_by_every_command(shared_a: SharedSite) -> None:
    closed = shared_a.directory / "root"
    shared_a.settings |= {
        "database": str(closed / "cas.db"),
        "knownIssues": str(closed / "known"),
        "snippets": str(closed / "snippets"),
        "extensions": str(closed / "trace.so"),
    }
    told = f"Permission denied; {closed} belongs to root, and this runs as {OTHER}"
    status = shared_a.admin("status").stdout
    assert f"PACKAGES\n  ! {closed}/cas.db cannot be written: {told}" in status
    assert f"! {closed}/known cannot be read: Permission denied; let {OTHER} read it" in status
    done = shared_a.admin("check")
    assert f"{closed}/cas.db cannot be written: {told}" in done.stdout + done.stderr
    done = shared_a.cas("-i", "T-1", "-f", FIXTURES / "b" / "vmcore.kdump")
    assert done.returncode == 2, done.stderr
    for said in (status, done.stderr):
        assert "Errno" not in said
        assert "internal error" not in said


@pytest.mark.long
def test_what_root_left_behind_is_named_and_mended(shared_a: SharedSite, vmcore: Path) -> None:
    upload = readable(shared_a, vmcore)
    del shared_a.settings["casuser"]  # root begins without it
    shutil.chown(shared_a.jobs, "root")
    assert shared_a.admin("-b").returncode == 0
    assert shared_a.cas("-i", "T-1", "-f", upload).returncode == 0
    shared_a.settings["casuser"] = OTHER
    closed = shared_a.as_user(OTHER, "cas-admin", "check")
    assert (closed.returncode, closed.stdout.count("broken ")) == (4, 4), closed.stdout
    shutil.chown(shared_a.jobs, OTHER)

    names = (
        ".archive",
        "T-1",
        ".grown",
        BUILD_ID,
        f"{BUILD_ID}.lock",
        "cas.db",
        "cas.db.build.lock",
    )
    (places,) = zip(*(shared_a.directory.glob(f"*/{name}") for name in names), strict=True)
    command = f"chown -R --from=root {OTHER}: {' '.join(map(str, places))}"
    done = shared_a.as_user(OTHER, "cas-admin", "-b")
    assert done.returncode == 2
    assert "db/cas.db cannot be written: Permission denied; it belongs to root" in done.stderr
    assert f"→ run as root: {command}" in done.stderr
    for words, status in (
        ("check", 4),
        ("index", 2),
        ("status", 3),
        ("cache list", 0),
        ("cache verify", 4),
        ("cache clean", 0),
    ):
        done = shared_a.as_user(OTHER, "cas-admin", *words.split())
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        assert "belongs to root" in said
        assert "internal error" not in said
        assert "later" not in said
        if words in ("check", "status"):
            assert said.count(command) >= 2, said
            assert "T-1" in said

    database = shared_a.directory / "db"
    (given,) = {path for path in database.iterdir() if path.suffix == ".lock"}
    for path in (database / "cas.db", given):
        shutil.chown(path, OTHER)
    done = shared_a.as_user(OTHER, "cas", "-i", "T-2", "-f", upload)
    assert done.returncode == 2, done.stderr
    entry = shared_a.directory / "debugs" / BUILD_ID
    assert f"{entry}" in done.stderr
    assert "belongs to root, and this runs as nobody" in done.stderr
    mended = done.stderr.partition("→ run as root: ")[2].splitlines()[0]
    assert "internal error" not in shared_a.as_user(OTHER, "cas-admin", "check").stderr

    assert shared_a.run("sh", "-c", mended).returncode == 0
    done = shared_a.as_user(OTHER, "cas", "-i", "T-2")
    assert done.returncode == 0, done.stderr
    done = shared_a.as_user(OTHER, "cas-admin", "index")
    assert (done.returncode, done.stdout) == (0, "2 jobs entered\n")
    assert shared_a.as_user(OTHER, "cas-admin", "check").returncode == 0


@pytest.mark.long
def test_a_group_reads_results_and_nothing_else(shared_a: SharedSite, vmcore: Path) -> None:
    upload = readable(shared_a, vmcore)
    shared_a.settings["resultGroup"] = GROUP
    done = shared_a.cas("-i", "T-1", "-f", upload)
    assert done.returncode == 2
    assert f"resultGroup = {GROUP}: {OTHER} is not in this group" in done.stderr
    assert f"usermod -aG {GROUP} {OTHER}" in done.stderr

    member = str(grp.getgrnam(GROUP).gr_gid)
    done = shared_a.as_user(OTHER, "cas", "-i", "T-1", "-f", upload, groups=member)
    assert done.returncode == 6, done.stderr  # nothing is catalogued: it waits
    cores = shared_a.jobs
    mended = f"chgrp {GROUP} {cores} && chmod g+x {cores}"
    assert f"which may not pass {cores}: {mended}" in done.stderr
    assert shared_a.run("sh", "-c", mended).returncode == 0

    job = shared_a.job("T-1")
    tried = 'for file in * .* vmcore/*; do cat "$file" >/dev/null 2>&1 && echo "$file"; done; true'
    done = shared_a.as_user(THIRD, "sh", "-c", f"cd {job} && {tried}")
    sections = {section["path"] for section in shared_a.result("T-1")["sections"]}
    assert sections
    expected = {"report.txt", "report.html", "result.json", "T-1.log", *sections}
    assert {*done.stdout.split()} == expected
    assert {path.name for path in job.iterdir()} > expected

    def checked() -> str:
        done = shared_a.as_user(OTHER, "cas-admin", "check", groups=member)
        assert done.returncode == ("broken " in done.stdout) * 4
        return done.stdout

    assert "group" not in checked()
    assert "open to others" not in checked()
    job.chmod(0o700)  # as one that was made before
    told = checked()
    assert f"open   {job}: has results that the group {GROUP} may not read; run: cd " in told
    command = told.partition("; run: ")[2].splitlines()[0]
    assert shared_a.as_user(OTHER, "sh", "-c", command, groups=member).returncode == 0
    assert "may not read" not in checked()
    (job / "job.json").chmod(0o640)
    assert f"is open to others: job.json; run: chmod go= {job}/job.json" in checked()
    del shared_a.settings["resultGroup"]
    assert "is open to others: T-1 and " in checked()


@pytest.mark.long
def test_a_file_of_another_is_named_with_its_owner(shared_a: SharedSite) -> None:
    kernels = shared_a.directory / "kernels"
    kernels.mkdir()
    shared_a.settings["kernels"] = str(kernels)
    package = kernels / "kernel-debuginfo-5.rpm"
    package.write_bytes(b"not read")
    package.chmod(0o600)
    done = shared_a.admin("-b")
    assert done.returncode == 3
    said = "cannot be read: Permission denied; it belongs to root, and this runs as nobody"
    assert f"! {package} {said}" in done.stderr
    shutil.chown(package, OTHER)
    package.chmod(0)
    done = shared_a.admin("-b")
    assert f"! {package} cannot be read: Permission denied; it has the mode 0000" in done.stderr
    kernels.chmod(0o700)
    done = shared_a.admin("-b")
    assert done.returncode == 2
    assert f"! {kernels} {said}" in done.stderr
    shared_a.settings["workDirectory"] = str(shared_a.directory / "root" / "cores")
    done = shared_a.admin("status")
    assert done.returncode == 3
    assert f"{shared_a.directory}/root belongs to root, and this runs as" in done.stdout, (
        done.stdout
    )
    shared_a.settings["casuser"] = "nosuch"
    done = shared_a.admin("status")
    assert (done.returncode, done.stdout) == (2, "")
    assert "casuser = nosuch: there is no such user" in done.stderr


@pytest.mark.long
def test_a_place_that_root_must_make_is_said_with_the_command(shared_a: SharedSite) -> None:
    missing = shared_a.directory / "more" / "cores"
    missing.parent.mkdir(mode=0o755)
    shared_a.settings |= {"workDirectory": str(missing), "engine": "drgn"}
    upload = shared_a.directory / "vmcore"
    upload.write_bytes(b"KDUMP   " + bytes(1 << 16))
    done = shared_a.cas("-i", "T-1", "-f", upload)
    assert done.returncode == 2, done.stderr
    assert f"→ run as root: install -d -o {OTHER} -m 700 {missing}" in done.stderr
    place = shared_a.directory / "var"
    place.mkdir(mode=0o755)
    shared_a.settings["database"] = str(place / "cas.db")
    done = shared_a.admin("index")
    assert done.returncode == 2
    assert f"{place} belongs to root" in done.stderr
    assert f"→ run as root: chown -R --from=root {OTHER}: {place}" in done.stderr
    place.chmod(0o700)  # as the program makes it, when root runs it
    done = shared_a.admin("index")
    condition = f"if nothing else is in {place}, run as root: "
    assert f"→ {condition}chown -R --from=root {OTHER}: {place}" in done.stderr
    place.chmod(0o755)
    (place / "other").touch()  # of another program
    done = shared_a.admin("index")
    assert f"→ let {OTHER} use {place}, or configure another place" in done.stderr


@pytest.mark.long
def test_an_upload_that_only_root_may_reach_is_named(shared_a: SharedSite) -> None:
    upload = shared_a.directory / "root" / "vmcore"
    upload.write_bytes(b"KDUMP   " + bytes(1 << 16))
    order = {"ticket": "T-1", "upload": str(upload)}
    job = shared_a.jobs / "T-1" / "2026.11.30.10.00.00"
    shared_a.own(OTHER, "cores/T-1", f"cores/T-1/{job.name}")
    record = {"version": 1, "order": order, "started": "2026-11-30T10:00:00+00:00"}
    (job / "job.json").write_text(json.dumps(record | {"stages": ["received"]}))
    shutil.chown(job / "job.json", OTHER)
    done = shared_a.admin("resume")  # a run of root's had been stopped
    assert done.returncode == 6
    assert f"{upload} cannot be read: Permission denied; {upload.parent} belongs to" in done.stderr


@pytest.mark.long
def test_two_users_share_a_cache_and_a_catalogue(vmcore: Path) -> None:
    with shared_site(FIXTURES / "a") as site, postgresql() as url:
        group = os.getgid() + 4711  # of no name
        for place, mode in (("cores", 0o1770), ("debugs", 0o2770)):
            (site.directory / place).mkdir()
            os.chown(site.directory / place, 0, group)
            (site.directory / place).chmod(mode)
        Path(url.partition("host=")[2]).chmod(0o755)
        site.settings["database"] = url
        upload = readable(site, vmcore)

        def run(user: str, *words: str | Path) -> tuple[int, str, str]:
            done = site.as_user(user, *map(str, words), groups=str(group))
            return done.returncode, done.stdout, done.stderr

        assert run(OTHER, "cas-admin", "-b")[0] == 0
        for user, ticket in ((OTHER, "T-1"), (THIRD, "T-2")):
            status, _, told = run(user, "cas", "-i", ticket, "-f", upload)
            assert status == 0, told
        assert site.owners("debugs") == {"root", OTHER}  # it was extracted once
        assert "same dump as T-1" in told
        for user, other in ((OTHER, "T-2"), (THIRD, "T-1")):
            assert run(user, "cas-admin", "index")[:2] == (0, "1 job entered\n")
            status, said, told = run(user, "cas-admin", "check")
            assert status == 0, said
            assert f"{other}: belongs to " in said
            for words in (["cache", "verify"], ["status"], ["resume"], ["-b"]):
                assert run(user, "cas-admin", *words)[0] == 0, words
        assert run(THIRD, "cas", "-i", "T-1", "-f", upload)[0] == 5
        site.settings["cacheLimit"] = "1K"
        status, said, _ = run(THIRD, "cas-admin", "cache", "clean")
        assert status == 0
        assert f"removed 6.1.192-1.cas1.x86_64, {BUILD_ID}" in said
        assert not (site.directory / "debugs" / BUILD_ID).exists()
