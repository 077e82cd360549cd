"""What a file that may hold debug information is, told by its first bytes, and what is in it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from cas.catalogue.packages import deb, identity, payload, plain, rpm
from cas.catalogue.packages.archive import Listed, Listing
from cas.database.records import Package
from cas.errors import PackageError

_RPM_MAGIC = b"\xed\xab\xee\xdb"
_MAGIC_BYTES = 8


def read_package(path: Path) -> Package:
    """The kernels, and the kmods, that a file holds debug information of.

    Of a kernel that no header tells the build-id of, the beginning is read from the payload.

    :return: without kernels for a package that has no vmlinux
    :raises PackageError: the content is of no known kind, or is damaged
    :raises OSError: the file cannot be read
    """
    try:
        found = package_kind(path)
        if found == "deb":
            return deb.read_deb(path)
        if found == "vmlinux":
            return plain.read_vmlinux(path)
        return _with_payload_facts(path, rpm.read_rpm(path))
    except PackageError as error:
        # an error of the file system stays one: what could not be read is no damaged package
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno is not None:
                raise cause from error
            cause = cause.__cause__
        raise


def listing(path: Path) -> Listing:
    """What a package lists without its payload.

    :raises PackageError: the content is no package, or is damaged
    :raises OSError: the file cannot be read
    """
    return deb.deb_listing(path) if package_kind(path) == "deb" else payload.rpm_listing(path)


def package_kind(path: Path) -> str:
    """``rpm``, ``deb`` or ``vmlinux``, by the first bytes.

    Where these are of no kind, by the name, which the reason then is of.
    """
    with path.open("rb", buffering=0) as file:
        magic = file.read(_MAGIC_BYTES)
    if magic.startswith(_RPM_MAGIC):
        return "rpm"
    if magic == deb.MAGIC:
        return "deb"
    if magic.startswith(plain.MAGIC) or plain.NAME.fullmatch(str(path)):
        return "vmlinux"
    return "deb" if deb.NAME.fullmatch(str(path)) else "rpm"


def _with_payload_facts(path: Path, package: Package) -> Package:
    """The package with what the payload says of kernels whose build-id the header does not tell."""
    silent = {
        kernel.member
        for kernel in package.kernels
        if kernel.member and kernel.build_id is None and not kernel.is_examined
    }
    if not silent:
        return package
    opened = partial(listing(path).opened, lambda _: None)
    found = identity.in_payload(path, opened, silent)
    kernels = []
    for kernel in package.kernels:
        if kernel.member not in silent:
            kernels.append(kernel)
            continue
        if kernel.member not in found:
            raise PackageError(f"{path}: the payload lacks {kernel.member}")
        known = found[kernel.member]
        if wrong := Listed(size_bytes=kernel.size_bytes).size_contradiction(known.size_bytes):
            raise PackageError(f"{path}: {kernel.member} is not what the header says: {wrong}")
        examined = replace(kernel, build_id=known.build_id, banner=known.banner, is_examined=True)
        kernels.append(replace(examined, size_bytes=known.size_bytes))
    return replace(package, kernels=tuple(kernels))
