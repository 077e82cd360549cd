"""Where the program's own data files are: snippets, the example configuration, units.

They stand at the top of a checkout and are installed below ``share/cas`` of the environment.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from cas.errors import CasError

SHARE = Path("share", "cas")


class DataMissing(CasError):
    """The installation lacks data files that belong to the program."""

    hint = "install CAS again, from a wheel or with: pip install ."


def shipped(kind: str) -> Path:
    """A directory or file of the program's data, e.g. ``snippets/crash`` or ``etc/cas.conf``.

    :raises DataMissing: neither a checkout nor an installation holds it
    """
    for place in _places():
        if (place / kind).exists():
            return place / kind
    places = ", ".join(os.fspath(place) for place in _places())
    raise DataMissing(f"there is no {kind} below {places}")


def _places() -> Iterator[Path]:
    package = Path(__file__).resolve().parents[1]
    if (package.parent / "setup.cfg").is_file():
        yield package.parent
    # data_files go to the environment's root; to the user's with `pip install --user`, and to
    # /usr/local where a distribution's Python installs there by default
    yield Path(sysconfig.get_path("data")) / SHARE
    yield Path(sysconfig.get_path("data", f"{os.name}_user")) / SHARE
    yield Path(sys.prefix) / SHARE
    # `pip install --target DIR` puts share/ beside the package
    yield package.parent / SHARE
