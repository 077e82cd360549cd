"""Which package to get for a kernel, by its release: distributions name them in their own way."""

from __future__ import annotations

import re

from cas.catalogue.rpm import flavour

_ENTERPRISE = re.compile(r"\.(?:el\d|fc\d|amzn\d|azl\d|cm\d|oe\d|an\d|tl\d)|EL")
_UBUNTU = re.compile(
    r"-(?:generic|lowlatency|realtime|aws|azure|gcp|gke|gkeop|kvm|oracle|ibm|raspi|nvidia|oem)\b"
)
_DEBIAN = re.compile(r"-(?:amd64|arm64|686|686-pae|armmp|powerpc64le|s390x|riscv64)$")
_SUSE = re.compile(
    r"(?P<number>.+\d)-(?P<flavour>default|preempt|azure|rt|rt_debug|kvmsmall|64kb|debug|pae|xen)$"
)


def package_hint(osrelease: str, arch: str) -> str:
    """The next step for somebody who lacks the debuginfo of a kernel."""
    packages = _packages(osrelease, arch)
    if packages[0].startswith("linux-image"):
        return f"install {packages[0]} on this machine, then run the same command again"
    return f"put {' and '.join(packages)} below `kernels` and run: cas-admin -b"


def _packages(osrelease: str, arch: str) -> list[str]:
    suse = _SUSE.fullmatch(osrelease)
    if suse is not None:
        return [f"kernel-{suse['flavour']}-debuginfo-{suse['number']}.*.{arch}.rpm"]
    if _UBUNTU.search(osrelease):
        return [f"linux-image-unsigned-{osrelease}-dbgsym"]
    if _DEBIAN.search(osrelease):
        return [f"linux-image-{osrelease}-dbg"]
    if _ENTERPRISE.search(osrelease):
        return _enterprise(osrelease, arch)
    return [f"kernel-debuginfo-{osrelease}"]


def _enterprise(osrelease: str, arch: str) -> list[str]:
    """Red Hat's scheme, which Fedora, Oracle, Amazon and others follow."""
    variant = flavour(osrelease)
    version = _version(osrelease, variant)
    version = version if version.endswith(f".{arch}") else f"{version}.{arch}"
    name = f"kernel-{variant}-debuginfo" if variant else "kernel-debuginfo"
    family = f"kernel-{variant}" if variant in ("rt", "uek") and "+" not in osrelease else "kernel"
    return [
        f"{name}-{version}.rpm",
        f"{family}-debuginfo-common-{arch}-{version}.rpm",
    ]


def _version(osrelease: str, variant: str) -> str:
    """The release without the variant that newer kernels append."""
    if "+" in osrelease:
        return osrelease.partition("+")[0]
    return osrelease.removesuffix(variant).rstrip(".") if variant else osrelease
