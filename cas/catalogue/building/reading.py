"""What a file says of itself, as one line of JSON: between processes, and in the database."""

from __future__ import annotations

import errno
import json
from dataclasses import astuple
from pathlib import Path

from cas.catalogue.packages import package_kinds
from cas.database.records import PackageState
from cas.errors import PackageError, plain_reason
from cas.files.permission import DENIED, not_permitted
from cas.text import short_line

_REASON_LIMIT = 2000
_TOO_LARGE = "it takes more memory to read than a reader may have"


def read_facts(path: str) -> str:
    """The facts of a file, or the reason why there are none."""
    state = PackageState.BAD
    try:
        package = package_kinds.read_package(Path(path))
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
    except PackageError as error:
        reason = str(error)
    except MemoryError:
        reason = _TOO_LARGE
    except OSError as error:
        if error.errno == errno.ENOMEM:
            reason = _TOO_LARGE
        else:
            state = PackageState.UNREADABLE
            reason = plain_reason(error)
            if error.errno in DENIED:
                reason = str(not_permitted(Path(path), error, "read"))
    except Exception as error:  # our fault; but one file of ten thousand must not end the run
        reason = f"reading it failed: {type(error).__name__}: {error}"
    return failure(state, reason)


def failure(state: PackageState, reason: str) -> str:
    """The facts of a file that cannot be used."""
    return json.dumps({"state": state, "reason": short_line(reason, _REASON_LIMIT)})
