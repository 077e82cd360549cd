"""The process of an interactive drgn: its own prompt, on a dump that is opened as we do it.

Other than drgn's own command line, it takes nothing but the given vmlinux, knows the names of the
kernel modules, and opens dumps whose headers do not say their architecture.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from drgn.cli import run_interactive, version_header

from cas.engines.drgn_fit import Known
from cas.engines.drgn_target import CannotOpen, File, Request, Target

STATUS = 4
"""The dump could not be opened."""


def main(vmcore: str, vmlinux: str, about: str, *kmods: str) -> None:
    """Open a dump and talk with whoever sits in front of the terminal.

    :param about: the fields of a `Request` that are no files, as JSON
    :param kmods: names of kernel modules, each followed by its debug file
    """
    dump, kernel = _opened(vmcore), _opened(vmlinux)
    files = {name: _opened(path) for name, path in zip(kmods[::2], kmods[1::2], strict=True)}
    facts = json.loads(about)
    facts["known"] = Known(**facts["known"])
    try:
        target = Target(Request(dump, kernel, kmods=files, **facts))
        target.describe_all()
    except CannotOpen as error:
        sys.stderr.write(f"drgn cannot open {Path(vmcore).name}: {error}\n")
        sys.exit(STATUS)
    print(version_header())
    run_interactive(target.prog)


def _opened(name: str) -> File:
    return File(name, os.open(name, os.O_RDONLY))
