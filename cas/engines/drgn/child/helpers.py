"""drgn's helpers for Linux, imported one by one.

The package ``drgn.helpers.linux`` imports all of its modules, and through them drgn's command line,
as soon as one of them is needed: 40 ms of a processor, a tenth of the time to a first answer.

Source: drgn 0.3.0, drgn/helpers/linux/__init__.py.
"""

from __future__ import annotations

import importlib.util
import sys

import drgn.helpers

PACKAGE = "drgn.helpers.linux"


def import_one_by_one() -> None:
    """Have each module of the package imported only when it is needed; before any is."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None  # noqa: S101  drgn is installed
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    vars(drgn.helpers)["linux"] = package


def import_all() -> None:
    """Import the others, too: a command may use any."""
    package = sys.modules[PACKAGE]
    if not hasattr(package, "__all__") and package.__spec__ and package.__spec__.loader:
        package.__spec__.loader.exec_module(package)
