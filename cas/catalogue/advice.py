"""Which packages to get for a kernel: distributions name them in their own way.

Sources: ``kernel.spec`` of Red Hat, Oracle, Amazon and openEuler; ``kernel-binary.spec`` of SUSE;
``debian/rules.real`` of Debian's linux; ``debian/rules.d/2-binary-arch.mk`` of Ubuntu's;
``debian/rules`` of Proxmox's pve-kernel; ``SPECS/linux/*.spec`` of Photon.
"""

from __future__ import annotations

import re

from cas.catalogue.packages.rpm_layout import flavour

_SOUND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
"""What a dump may call a release whose packages are named: the names end up in shells."""
_ENTERPRISE = re.compile(r"\.(?:el\d|fc\d|amzn\d|azl\d|cm\d|oe\d|an\d|tl\d)|EL")
_WITHOUT_COMMON = re.compile(r"\.(?:azl|cm|oe)\d|EL")
"""Azure Linux, openEuler, and Red Hat before its release 5 have no package of common files."""
_UEK = re.compile(r"uek(?:[.+]|$)")
_FAMILY = re.compile(r"\.rt\d+\.")
_AMAZON = re.compile(r"(?P<version>\d+\.\d+)\..*\.amzn2023\b")
_FIRST_OF_AMAZON = "6.1"
"""The kernel of Amazon Linux 2023 that is just called ``kernel``; later ones name their version."""
_VARIANT = re.compile(
    r"\+[A-Za-z0-9-]+$|\.(?:debug|rt|64k|kdump|lpae|zfcpdump)$"
    r"|(?:\.?(?:PAE(?:-?debug)?|xenU?|smp|largesmp|hugemem|kdump|debug))$"
)
_UBUNTU = re.compile(r"(?P<version>\d+\.\d+\.\d+-\d+)-(?P<flavour>[a-z][a-z0-9.-]*)")
_UBUNTU_FLAVOURS = re.compile(
    r"(?:generic|lowlatency|realtime|virtual|server|aws|azure|gcp|gke|gkeop|kvm|oracle|ibm|raspi2?"
    r"|nvidia|oem|intel|xilinx|bluefield|snapdragon)\b.*"
)
_UBUNTU_UPLOAD = re.compile(r"#(\d+(?:\.\d+)?(?:~[0-9A-Za-z.~]+)?(?:\+[0-9a-z.]+)?)-Ubuntu\b")
_FIRST_UNSIGNED = (4, 15)
"""Ubuntu's kernel from which on the package with the image has ``unsigned`` in its name."""
_DEBIAN = re.compile(
    r".*-(?:amd64|arm64|686|686-pae|armmp(?:-lpae)?|marvell|rpi|powerpc64le(?:-64k)?|s390x|riscv64"
    r"|loong64|loongson-3|4kc-malta|5kc-malta|mips\w+|octeon|arm64-16k)"
)
_DEBIAN_VERSION = re.compile(r" Debian (?:\d+:)?(\d[0-9A-Za-z.+~-]{2,60}) \(")
_DEBIAN_ARCHES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i686": "i386",
    "armv7l": "armhf",
    "ppc64le": "ppc64el",
    "loongarch64": "loong64",
}
_SUSE = re.compile(
    r"(?P<number>.+\d)-(?P<flavour>default|preempt|azure|rt|rt_debug|kvmsmall|64kb|debug|pae|xen"
    r"|desktop|vanilla|longterm|lpae|zfcpdump|bigsmp|ec2|trace)"
)
_PROXMOX = re.compile(r"\d[0-9A-Za-z.~-]*-pve")
_PHOTON = re.compile(r"(?P<version>\d.*\.ph\d+)(?P<flavour>(?:-[a-z]+)?)")
_SERVED = re.compile(r"\.fc\d|\.el(?:9|1\d)\b|-arch\d")
"""Fedora, CentOS Stream, Arch: they have public debuginfod servers."""
_SERVED_NAMES = ("linux-image-", "kernel-default-")
"""Debian, Ubuntu, openSUSE too."""
_SERVER = "; or set `debuginfod` in cas.conf to a server of the distribution, which may have it"


def package_hint(osrelease: str, arch: str, banner: str | None = None) -> str:
    """The next step for somebody who lacks the debuginfo of a kernel."""
    found = packages_to_get(osrelease, arch, banner)
    what = " and ".join(found) if found else "the vmlinux of this build, with debug information,"
    served = _SERVED.search(osrelease) or any(name.startswith(_SERVED_NAMES) for name in found)
    return f"put {what} below `kernels` and run: cas-admin -b{_SERVER if served else ''}"


def packages_to_get(osrelease: str, arch: str, banner: str | None = None) -> tuple[str, ...]:
    """The files to get for a kernel; none for a kernel that no distribution has built.

    Where neither release nor banner tells a part of a name, there is a ``*``.

    :param arch: ``uname -m`` spelling
    """
    if not _SOUND.fullmatch(osrelease):
        return ()
    banner = banner or ""
    deb_arch = _DEBIAN_ARCHES.get(arch, arch)
    ubuntu, upload = _UBUNTU.fullmatch(osrelease), _UBUNTU_UPLOAD.search(banner)
    if ubuntu and (_UBUNTU_FLAVOURS.fullmatch(ubuntu["flavour"]) or upload):
        numbers = tuple(map(int, osrelease.split(".")[:2]))
        is_unsigned = numbers >= _FIRST_UNSIGNED and arch != "armv7l"
        name = f"linux-image-{'unsigned-' if is_unsigned else ''}{osrelease}-dbgsym"
        # 5.15.0-91-generic and #101-Ubuntu are version 5.15.0-91.101
        found = f"{name}_{ubuntu['version']}.{upload[1] if upload else '*'}_{deb_arch}.ddeb"
    elif _ENTERPRISE.search(osrelease):
        return _enterprise_packages(osrelease, arch)
    elif _DEBIAN.fullmatch(osrelease) or _DEBIAN_VERSION.search(banner):
        version = debian_version(banner) or "*"
        found = f"linux-image-{osrelease}-dbg_{version}_{deb_arch}.deb"
    elif _PROXMOX.fullmatch(osrelease):
        found = f"proxmox-kernel-{osrelease}-dbgsym_*_{deb_arch}.deb"
    elif photon := _PHOTON.fullmatch(osrelease):
        found = f"linux{photon['flavour']}-debuginfo-{photon['version']}.{arch}.rpm"
    elif suse := _SUSE.fullmatch(osrelease):
        found = f"kernel-{suse['flavour']}-debuginfo-{suse['number']}.*.{arch}.rpm"
    elif osrelease.endswith(f".{arch}"):
        # somebody's own RPM, made by the kernel's or by a distribution's spec file
        found = f"kernel-debuginfo-{osrelease}.rpm"
    else:
        return ()
    return (found,)


def debian_version(banner: str | None) -> str | None:
    """Of the Debian package that a kernel is from, without epoch, as its banner tells it.

    ``#1 SMP Debian 6.1.90-1 (2024-05-03)`` ends the banner.
    """
    found = _DEBIAN_VERSION.search(banner or "")
    return found[1] if found else None


def _enterprise_packages(osrelease: str, arch: str) -> tuple[str, ...]:
    """Red Hat's scheme, which Fedora, Oracle, Amazon and others follow."""
    variant = flavour(osrelease)
    version = _VARIANT.sub("", osrelease)
    version = version if version.endswith(f".{arch}") else f"{version}.{arch}"
    if _UEK.search(osrelease):
        # the Unbreakable Enterprise Kernel; its 64k variant is spelled in one word
        name = f"kernel-{variant.replace('uek-64k', 'uek64k')}"
        return (
            f"{name}-debuginfo-{version}.rpm",
            f"kernel-uek-debuginfo-common-{version}.rpm",
        )
    if "EL" in osrelease:  # one package for all variants
        return (f"kernel-debuginfo-{version}.rpm",)
    amazon = _AMAZON.match(osrelease)
    kernel = (
        f"kernel{amazon['version']}"
        if amazon and amazon["version"] != _FIRST_OF_AMAZON
        else "kernel"
    )
    name = f"{kernel}-{variant}" if variant else kernel
    family = "kernel-rt" if _FAMILY.search(osrelease) else kernel
    common = "common" if ".el5" in osrelease else f"common-{arch}"
    names = (f"{name}-debuginfo-{version}.rpm", f"{family}-debuginfo-{common}-{version}.rpm")
    return names[:1] if _WITHOUT_COMMON.search(osrelease) else names
