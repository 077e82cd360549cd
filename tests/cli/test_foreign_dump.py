"""Dumps of other architectures, and the crash programs that the site has for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from catalogue import kernel_packages
from dump.writer import Elf, info_note, vmcoreinfo
from fake_crash import loop
from ssh_servers import Sshd, sshd

from installed import Site, needs

RELEASE = "5.14.0-427.el9.i686"
EM_386 = 3
LOCAL_CRASH = """#!/bin/sh
words="$0 $*"
while [ $# -gt 2 ]; do shift; done
""" + loop('echo "$words"; sha256sum "$1" "$2"', RELEASE)


@pytest.fixture
def site_32(site: Site) -> Site:
    """A site with a 32-bit kernel's package, and a crash_32 that tells what it was started with."""
    needs("rpmbuild")
    files, links = kernel_packages.debuginfo("i686", RELEASE)
    recipe = kernel_packages.Recipe(files, links, arch="i686")
    kernel_packages.build(recipe, Path(site.settings["kernels"]))
    assert site.admin("-b").returncode == 0
    program = site.directory / "crash-i686"
    program.write_text(LOCAL_CRASH)
    program.chmod(0o755)
    site.settings |= {"crash_32": str(program), "debugs": str(site.directory / "debugs")}
    return site


@pytest.fixture
def host_32(site_32: Site) -> Iterator[Sshd]:
    """A registered 32-bit host with a crash of its own, which answers in the same way."""
    programs = site_32.directory / "host-bin"
    programs.mkdir()
    version = 'case $1 in --version) echo "crash 8.0.2"; exit ;; esac'
    scripts = {
        "uname": "#!/bin/sh\ncase $1 in -m) echo i686 ;; *) exec /usr/bin/uname $1 ;; esac\n",
        "crash": LOCAL_CRASH.replace("\n", f"\n{version}\n", 1),
    }
    for name, script in scripts.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    home = f"HOME={site_32.directory}/host-home"
    (site_32.directory / "host-home").mkdir()
    settings = {"SetEnv": f"PATH={programs}:/usr/sbin:/usr/bin:/sbin:/bin {home}"}
    with sshd(site_32.directory / "sshd", site_32.directory, settings) as host:
        host.know()
        added = site_32.admin("host", "add", f"127.0.0.1:{host.port}")
        assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture
def dump_32(tmp_path: Path) -> Path:
    """A 32-bit x86 dump of that kernel, of a few hundred bytes."""
    lines = {"OSRELEASE": RELEASE, "BUILD-ID": kernel_packages.build_id("i686")}
    notes = (info_note(vmcoreinfo(**lines)),)
    path = tmp_path / "vmcore"
    path.write_bytes(Elf(bits=32, machine=EM_386, notes=notes).build())
    return path


@pytest.mark.long
def test_crash_32_opens_a_32_bit_dump_and_without_it_a_host_of_that_architecture(
    site_32: Site, dump_32: Path, host_32: Sshd
) -> None:
    logins = host_32.log.count("Accepted publickey")
    done = site_32.cas("-i", "T-1", "-f", dump_32)
    assert done.returncode in (0, 3), done.stderr
    result = site_32.result("T-1")
    assert (result["engine"], result["host"]) == ("crash", None)
    assert result["dump"]["arch"] == "i686"
    said = (site_32.job("T-1") / "traceback").read_text()
    assert "/crash-i686 --no_crashrc -s " in said
    (vmlinux,) = (site_32.directory / "debugs").glob("*/vmlinux")
    for path in (vmlinux, dump_32):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in said
    assert host_32.log.count("Accepted publickey") == logins

    del site_32.settings["crash_32"]
    done = site_32.cas("-i", "T-2", "-f", dump_32)
    assert done.returncode in (0, 3), done.stderr
    result = site_32.result("T-2")
    assert (result["engine"], result["host"]) == ("crash", f"127.0.0.1:{host_32.port}")
    assert "/host-bin/crash " in (site_32.job("T-2") / "traceback").read_text()
