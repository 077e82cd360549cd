"""What a file says of itself, as one line of JSON: between processes, and in the database."""

from __future__ import annotations

import errno
import json
from dataclasses import astuple
from pathlib import Path

from cas.catalogue.packages import package_kinds
from cas.database.records import Package, PackageState
from cas.errors import PackageError
from cas.files.permission import DENIED, not_permitted
from cas.text import short_line

_REASON_LIMIT = 2000
_TOO_LARGE = "it takes more memory to read than a reader may have"


def read_facts(path: str) -> str:
    """The facts of a file, or the reason why there are none."""
    try:
        return _package_facts(package_kinds.read_package(Path(path)))
    except PackageError as error:
        return failure(PackageState.BAD, str(error))
    except OSError as error:
        return _unread_facts(path, error)
    except MemoryError:
        return failure(PackageState.BAD, _TOO_LARGE)
    except Exception as error:  # our fault; but one file of ten thousand must not end the run
        return failure(PackageState.BAD, f"reading it failed: {type(error).__name__}: {error}")


def _unread_facts(path: str, error: OSError) -> str:
    if error.errno == errno.ENOMEM:
        return failure(PackageState.BAD, _TOO_LARGE)
    if error.errno in DENIED:
        return failure(PackageState.UNREADABLE, str(not_permitted(Path(path), error, "read")))
    return failure(PackageState.UNREADABLE, error.strerror or str(error))


def failure(state: PackageState, reason: str) -> str:
    """The facts of a file that cannot be used."""
    return json.dumps({"state": state, "reason": short_line(reason, _REASON_LIMIT)})


def _package_facts(package: Package) -> str:
    return json.dumps(
        {
            "state": PackageState.OK,
            "name": package.name,
            "arch": package.arch,
            "build_time_s": package.build_time_s,
            "kind": package.kind,
            "version": package.version,
            "kernels": [astuple(kernel) for kernel in package.kernels],
            "kmods": dict(package.kmods),
        }
    )
