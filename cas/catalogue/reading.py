"""What a file says of itself, as one line of JSON: between processes, and in the database."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from cas.catalogue.database.storable import storable
from cas.catalogue.facts import Package, PackagedKernel
from cas.catalogue.packages import sources
from cas.errors import PackageError
from cas.permission import DENIED, not_permitted
from cas.text import short_line

OK, BAD, UNREADABLE = "ok", "bad", "unreadable"
"""The states of a file: of use; damaged; not to be read now, so that every run tries again."""
_REASON_LIMIT = 2000
_TOO_LARGE = "it takes more memory to read than a reader may have"
_INT_LIMIT = (1 << 31) - 1
_LIMITS = {"arch": 32, "release": 160, "flavour": 160, "build_id": 128}
"""Characters that columns hold."""


def read(path: str) -> str:
    """The facts of a file, or the reason why there are none."""
    try:
        return _facts(sources.read(Path(path)))
    except PackageError as error:
        return failure(BAD, str(error))
    except OSError as error:
        return _unread(path, error)
    except MemoryError:
        return failure(BAD, _TOO_LARGE)
    except Exception as error:  # our fault; but one file of ten thousand must not end the run
        return failure(BAD, f"reading it failed: {type(error).__name__}: {error}")


def _unread(path: str, error: OSError) -> str:
    if error.errno == errno.ENOMEM:
        return failure(BAD, _TOO_LARGE)
    if error.errno in DENIED:
        return failure(UNREADABLE, str(not_permitted(Path(path), error, "read")))
    return failure(UNREADABLE, error.strerror or str(error))


def failure(state: str, reason: str) -> str:
    """The facts of a file that cannot be used."""
    return json.dumps({"state": state, "reason": short_line(reason, _REASON_LIMIT)})


def _facts(package: Package) -> str:
    return json.dumps(
        {
            "state": OK,
            "name": package.name,
            "arch": package.arch,
            "build_time_s": package.build_time_s,
            "kind": package.kind,
            "version": package.version,
            "kernels": [astuple(kernel) for kernel in package.kernels],
            "kmods": dict(package.kmods),
        }
    )


def package_columns(path: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the file's row."""
    return {
        "state": facts["state"],
        "reason": storable(facts.get("reason")),
        "name": storable(facts.get("name", "")),
        "arch": storable(facts.get("arch", ""), _LIMITS["arch"]),
        "build_time_s": facts.get("build_time_s"),
        "kind": facts.get("kind") or _kind(path),
        "version": storable(facts.get("version", "")),
    }


def kernel_columns(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of its kernels' rows."""
    return [
        {
            "release": storable(kernel.release, _LIMITS["release"]),
            "arch": storable(facts["arch"], _LIMITS["arch"]),
            "flavour": storable(kernel.flavour, _LIMITS["flavour"]),
            "member": storable(kernel.member or ""),
            "build_id": storable(kernel.build_id, _LIMITS["build_id"]),
            "size_bytes": kernel.size_bytes,
            "digest": storable(kernel.digest),
            "banner": storable(kernel.banner),
            "examined": kernel.is_examined,
        }
        for kernel in (PackagedKernel(*fields) for fields in facts.get("kernels", ()))
    ]


def kmod_columns(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of the rows of its kmods."""
    return [
        {"release": storable(release, _LIMITS["release"]), "count": min(count, _INT_LIMIT)}
        for release, count in facts.get("kmods", {}).items()
    ]


def _kind(path: str) -> str:
    """What a file that could not be read was taken for."""
    suffix = Path(path).suffix
    if suffix == ".rpm":
        return "rpm"
    return "deb" if suffix in (".deb", ".ddeb", ".udeb") else "vmlinux"
