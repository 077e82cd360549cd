"""The ``cas-admin`` program."""

from __future__ import annotations

from cas.__main__ import main
from cas_admin.commands import parse


def run() -> None:
    """Parse, run, exit; see :func:`cas.__main__.main`."""
    main(parse)


if __name__ == "__main__":
    run()
