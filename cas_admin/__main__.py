"""The ``cas-admin`` program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cas.__main__ import main

if TYPE_CHECKING:
    from cas.commands import Asked


def run() -> None:
    """Parse, run, exit; see :func:`cas.__main__.main`."""
    main(_parse_admin, "what is finished is kept; to go on: run the same command again")


def _parse_admin(argv: Sequence[str]) -> Asked:
    from cas_admin.command_line import parse_admin

    return parse_admin(argv)


if __name__ == "__main__":
    run()
