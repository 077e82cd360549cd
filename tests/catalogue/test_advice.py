import pytest

from cas.catalogue.advice import package_hint


@pytest.mark.parametrize(
    ("release", "arch", "package"),
    [
        (
            "5.14.0-427.el9.x86_64",
            "x86_64",
            "kernel-debuginfo-5.14.0-427.el9.x86_64.rpm and "
            "kernel-debuginfo-common-x86_64-5.14.0-427.el9.x86_64.rpm",
        ),
        ("4.18.0-513.el8.aarch64", "aarch64", "kernel-debuginfo-4.18.0-513.el8.aarch64.rpm"),
        ("6.11.4-301.fc41.x86_64", "x86_64", "kernel-debuginfo-6.11.4-301.fc41.x86_64.rpm"),
        ("2.6.18-398.el5", "x86_64", "kernel-debuginfo-2.6.18-398.el5.x86_64.rpm"),
        ("2.6.18-398.el5PAE", "i686", "kernel-PAE-debuginfo-2.6.18-398.el5.i686.rpm"),
        ("5.14.0-427.el9.x86_64+rt", "x86_64", "kernel-rt-debuginfo-5.14.0-427.el9.x86_64.rpm"),
        (
            "5.14.0-427.el9.aarch64+64k",
            "aarch64",
            "kernel-64k-debuginfo-5.14.0-427.el9.aarch64.rpm",
        ),
        (
            "3.10.0-1160.el7.x86_64.debug",
            "x86_64",
            "kernel-debug-debuginfo-3.10.0-1160.el7.x86_64.rpm",
        ),
        (
            "4.18.0-513.rt7.295.el8.x86_64",
            "x86_64",
            "kernel-rt-debuginfo-4.18.0-513.rt7.295.el8.x86_64.rpm",
        ),
        (
            "5.15.0-100.96.32.el9uek.x86_64",
            "x86_64",
            "kernel-uek-debuginfo-5.15.0-100.96.32.el9uek.x86_64.rpm",
        ),
        (
            "5.10.186-179.751.amzn2.x86_64",
            "x86_64",
            "kernel-debuginfo-5.10.186-179.751.amzn2.x86_64.rpm",
        ),
        (
            "5.14.21-150500.55.19-default",
            "x86_64",
            "kernel-default-debuginfo-5.14.21-150500.55.19.*.x86_64.rpm",
        ),
        ("6.1.0-18-amd64", "x86_64", "linux-image-6.1.0-18-amd64-dbg"),
        ("5.15.0-91-generic", "x86_64", "linux-image-unsigned-5.15.0-91-generic-dbgsym"),
        ("6.10.3", "x86_64", "kernel-debuginfo-6.10.3"),
    ],
)
def test_the_hint_names_the_package_to_get(release: str, arch: str, package: str) -> None:
    assert package in package_hint(release, arch)
