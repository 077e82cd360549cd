"""A sweep that root types, where ``casuser`` looks after the archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from other_users import Company, require_mounts, shared_site
from ssh_servers import sshd
from swept_hosts import dump_into

from installed import COMMANDS, FIXTURES, needs


@pytest.fixture
def company() -> Iterator[Company]:
    """The archive is of cas, who has the key of a host; its dumps are root's."""
    needs("useradd")
    with shared_site(FIXTURES / "b") as shared, ExitStack() as stack:
        site = Company(shared.directory, {**shared.settings, "casuser": "cas"})
        there, home = site.directory, site.directory / "home"
        server = stack.enter_context(sshd(there / "ssh", home))
        server.know()
        lines = "HostName 127.0.0.1", f"Port {server.port}", "User root"
        (home / ".ssh/config").write_text("Host db01\n  " + "\n  ".join(lines) + "\n")
        site.sections = f"[sweep]\ndirectories = {there}/var/crash\nsettle = 0.05\n"
        (there / "var/crash").mkdir(mode=0o700, parents=True)
        (there / "said").mkdir()
        (there / "bin").mkdir()
        for name in ("cas", "cas-admin"):
            (there / "bin" / name).symlink_to(COMMANDS / name)
        site.configure()
        script = f"""set -e
            cp -a /etc {there}/etc
            mount --bind {there}/etc /etc
            useradd -M -d {home} cas
            chown -R cas {home}
            install -m 644 {there}/cas.conf /etc/cas.conf
            install -d -o cas -m 700 {there}/cores {there}/debugs {there}/db"""
        require_mounts(site.run("unshare", "-m", "sh", "-c", script))
        yield site


@pytest.mark.long
def test_what_root_sweeps_belongs_to_the_user_of_the_archive(company: Company) -> None:
    dump = dump_into(company.directory / "var/crash", 1, made=company.directory / "made")
    dump.chmod(0o600)
    added, swept = company.say(
        "root: cas-admin host add --sweep db01", "root: cas-admin sweep --fetch --json"
    )
    assert added.returncode == 0, added.stderr
    assert swept.returncode == 0, swept.stderr
    (host,) = json.loads(swept.stdout)["hosts"]
    assert [each["path"] for each in host["missing"]] == [str(dump)]
    user = (company.directory / "db").stat().st_uid
    found = list(Path(company.directory / "cores").rglob("*"))
    assert found
    assert {path.lstat().st_uid for path in found} == {user}
