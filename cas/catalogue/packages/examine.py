"""A packaged vmlinux's own word on what it is, for kernels of which only the header was read."""

from __future__ import annotations

from functools import partial

from cas.catalogue.packages import identity, package_kinds
from cas.catalogue.packages.archive import Listed
from cas.errors import PackageError
from cas.files.permission import unread
from cas.model.kernel import Kernel


def examine(kernel: Kernel) -> tuple[str | None, str | None]:
    """Banner and build-id of a packaged vmlinux, from the payload.

    :raises PackageError: the package is damaged or gone
    """
    member = kernel.member or ""
    try:
        listing = package_kinds.listing(kernel.source)
    except OSError as error:
        raise PackageError(unread(kernel.source, error)) from error
    opened = partial(listing.opened, lambda _: None)
    found = identity.in_payload(kernel.source, opened, [member]).get(member)
    if found is None:
        raise PackageError(f"{kernel.source}: the payload lacks {member}")
    if wrong := Listed(size_bytes=kernel.size_bytes).size_contradiction(found.size_bytes):
        raise PackageError(f"{kernel.source}: {member} is not what the header says: {wrong}")
    return found.banner, found.build_id
