import pytest

from cas.catalogue.advice import package_hint, packages_to_get

NAMED = """
x86_64 5.14.0-427.el9.x86_64
    kernel-debuginfo-5.14.0-427.el9.x86_64.rpm
    kernel-debuginfo-common-x86_64-5.14.0-427.el9.x86_64.rpm
aarch64 4.18.0-513.el8.aarch64
    kernel-debuginfo-4.18.0-513.el8.aarch64.rpm
    kernel-debuginfo-common-aarch64-4.18.0-513.el8.aarch64.rpm
s390x 6.12.0-55.el10.s390x
    kernel-debuginfo-6.12.0-55.el10.s390x.rpm
    kernel-debuginfo-common-s390x-6.12.0-55.el10.s390x.rpm
x86_64 6.11.4-301.fc41.x86_64
    kernel-debuginfo-6.11.4-301.fc41.x86_64.rpm
    kernel-debuginfo-common-x86_64-6.11.4-301.fc41.x86_64.rpm
x86_64 6.11.4-301.fc41.x86_64+debug
    kernel-debug-debuginfo-6.11.4-301.fc41.x86_64.rpm
    kernel-debuginfo-common-x86_64-6.11.4-301.fc41.x86_64.rpm
x86_64 2.6.18-398.el5
    kernel-debuginfo-2.6.18-398.el5.x86_64.rpm
    kernel-debuginfo-common-2.6.18-398.el5.x86_64.rpm
i686 2.6.18-398.el5PAE
    kernel-PAE-debuginfo-2.6.18-398.el5.i686.rpm
    kernel-debuginfo-common-2.6.18-398.el5.i686.rpm
x86_64 5.14.0-427.el9.x86_64+rt
    kernel-rt-debuginfo-5.14.0-427.el9.x86_64.rpm
    kernel-debuginfo-common-x86_64-5.14.0-427.el9.x86_64.rpm
x86_64 5.14.0-427.el9.x86_64+rt-debug
    kernel-rt-debug-debuginfo-5.14.0-427.el9.x86_64.rpm
    kernel-debuginfo-common-x86_64-5.14.0-427.el9.x86_64.rpm
aarch64 5.14.0-427.el9.aarch64+64k
    kernel-64k-debuginfo-5.14.0-427.el9.aarch64.rpm
    kernel-debuginfo-common-aarch64-5.14.0-427.el9.aarch64.rpm
x86_64 3.10.0-1160.el7.x86_64.debug
    kernel-debug-debuginfo-3.10.0-1160.el7.x86_64.rpm
    kernel-debuginfo-common-x86_64-3.10.0-1160.el7.x86_64.rpm
x86_64 4.18.0-513.rt7.295.el8.x86_64
    kernel-rt-debuginfo-4.18.0-513.rt7.295.el8.x86_64.rpm
    kernel-rt-debuginfo-common-x86_64-4.18.0-513.rt7.295.el8.x86_64.rpm
x86_64 5.15.0-100.96.32.el9uek.x86_64
    kernel-uek-debuginfo-5.15.0-100.96.32.el9uek.x86_64.rpm
    kernel-uek-debuginfo-common-5.15.0-100.96.32.el9uek.x86_64.rpm
x86_64 5.15.0-100.96.32.el9uek.x86_64.debug
    kernel-uek-debug-debuginfo-5.15.0-100.96.32.el9uek.x86_64.rpm
    kernel-uek-debuginfo-common-5.15.0-100.96.32.el9uek.x86_64.rpm
aarch64 5.15.0-200.131.27.el9uek.aarch64.64k
    kernel-uek64k-debuginfo-5.15.0-200.131.27.el9uek.aarch64.rpm
    kernel-uek-debuginfo-common-5.15.0-200.131.27.el9uek.aarch64.rpm
x86_64 5.10.186-179.751.amzn2.x86_64
    kernel-debuginfo-5.10.186-179.751.amzn2.x86_64.rpm
    kernel-debuginfo-common-x86_64-5.10.186-179.751.amzn2.x86_64.rpm
aarch64 6.1.94-99.176.amzn2023.aarch64
    kernel-debuginfo-6.1.94-99.176.amzn2023.aarch64.rpm
    kernel-debuginfo-common-aarch64-6.1.94-99.176.amzn2023.aarch64.rpm
x86_64 6.12.22-27.96.amzn2023.x86_64
    kernel6.12-debuginfo-6.12.22-27.96.amzn2023.x86_64.rpm
    kernel6.12-debuginfo-common-x86_64-6.12.22-27.96.amzn2023.x86_64.rpm
x86_64 6.8.12-4-pve
    proxmox-kernel-6.8.12-4-pve-dbgsym_*_amd64.deb
x86_64 4.9.118-2.ph2
    linux-debuginfo-4.9.118-2.ph2.x86_64.rpm
x86_64 6.1.10-1.ph5-esx
    linux-esx-debuginfo-6.1.10-1.ph5.x86_64.rpm
x86_64 5.10.134-16.an8.x86_64
    kernel-debuginfo-5.10.134-16.an8.x86_64.rpm
    kernel-debuginfo-common-x86_64-5.10.134-16.an8.x86_64.rpm
i686 2.6.9-100.ELsmp
    kernel-debuginfo-2.6.9-100.EL.i686.rpm
x86_64 5.10.0-60.18.0.50.oe2203.x86_64
    kernel-debuginfo-5.10.0-60.18.0.50.oe2203.x86_64.rpm
x86_64 6.6.57.1-2.azl3
    kernel-debuginfo-6.6.57.1-2.azl3.x86_64.rpm
x86_64 6.1.192-1.own1.x86_64
    kernel-debuginfo-6.1.192-1.own1.x86_64.rpm
x86_64 5.14.21-150500.55.19-default
    kernel-default-debuginfo-5.14.21-150500.55.19.*.x86_64.rpm
aarch64 6.4.0-150600.23.7-64kb
    kernel-64kb-debuginfo-6.4.0-150600.23.7.*.aarch64.rpm
x86_64 6.1.0-21-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03)
    linux-image-6.1.0-21-amd64-dbg_6.1.90-1_amd64.deb
aarch64 6.1.0-0.deb11.21-cloud-arm64 #1 SMP Debian 6.1.90-1~bpo11+1 (2024-05-06)
    linux-image-6.1.0-0.deb11.21-cloud-arm64-dbg_6.1.90-1~bpo11+1_arm64.deb
x86_64 6.12.48+deb13-amd64
    linux-image-6.12.48+deb13-amd64-dbg_*_amd64.deb
aarch64 6.6.31-own-v8 #1 SMP PREEMPT Debian 1:6.6.31-1+own1 (2024-05-29)
    linux-image-6.6.31-own-v8-dbg_6.6.31-1+own1_arm64.deb
x86_64 5.15.0-91-generic #101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023
    linux-image-unsigned-5.15.0-91-generic-dbgsym_5.15.0-91.101_amd64.ddeb
x86_64 6.5.0-14-generic #14~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC
    linux-image-unsigned-6.5.0-14-generic-dbgsym_6.5.0-14.14~22.04.1_amd64.ddeb
aarch64 6.8.0-1008-aws
    linux-image-unsigned-6.8.0-1008-aws-dbgsym_6.8.0-1008.*_arm64.ddeb
x86_64 5.15.0-1040-special #48-Ubuntu SMP Tue Nov 14
    linux-image-unsigned-5.15.0-1040-special-dbgsym_5.15.0-1040.48_amd64.ddeb
x86_64 4.4.0-210-generic #242-Ubuntu SMP
    linux-image-4.4.0-210-generic-dbgsym_4.4.0-210.242_amd64.ddeb
"""
"""Architecture, release, and the end of the banner where it matters; below them the packages."""


def blocks() -> list[tuple[str, str, str, tuple[str, ...]]]:
    found: list[tuple[str, str, str, tuple[str, ...]]] = []
    for line in NAMED.strip().splitlines():
        if line.startswith(" "):
            arch, release, stamp, names = found.pop()
            found.append((arch, release, stamp, (*names, line.strip())))
        else:
            arch, release, stamp = f"{line} ".split(" ", 2)
            found.append((arch, release, stamp.strip(), ()))
    return found


@pytest.mark.parametrize(("arch", "release", "stamp", "names"), blocks())
def test_the_packages_are_named_as_far_as_the_dump_tells(
    arch: str, release: str, stamp: str, names: tuple[str, ...]
) -> None:
    banner = f"Linux version {release} (somebody@build) (gcc) {stamp}"
    assert packages_to_get(release, arch, banner) == names
    assert f"put {' and '.join(names)} below `kernels`" in package_hint(release, arch, banner)


@pytest.mark.parametrize("release", ["6.10.3", "6.10.3-arch1-2", "6.9.0-rc3+", "5.4.0-mine"])
def test_for_a_build_of_nobodys_the_vmlinux_itself_is_asked_for(release: str) -> None:
    assert packages_to_get(release, "x86_64") == ()
    assert "the vmlinux of this build" in package_hint(release, "x86_64")


@pytest.mark.parametrize("release", ["6.1.0-1-amd64; rm -rf /", "../x.el9.x86_64", "\x1b.el9", ""])
def test_a_release_that_is_none_names_no_package(release: str) -> None:
    assert packages_to_get(release, "x86_64") == ()
    assert release not in package_hint(release, "x86_64") or not release


def test_a_server_is_spoken_of_where_distributions_have_one() -> None:
    assert "`debuginfod`" in package_hint("6.1.0-21-amd64", "x86_64")
    assert "`debuginfod`" in package_hint("6.11.4-301.fc41.x86_64", "x86_64")
    for release in ("3.10.0-1160.el7.x86_64", "6.1.192-1.own1.x86_64", "6.10.3"):
        assert "`debuginfod`" not in package_hint(release, "x86_64")
