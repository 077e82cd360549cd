"""drgn's process is started: with few imports, for that is done before nearly all else."""

from __future__ import annotations

import importlib.util
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cas
from cas.errors import EngineError
from cas.supervise import Child, Confinement, VisibleFiles
from cas.supervise.sandbox import visible

PACKAGES = Path(cas.__file__).absolute().parent.parent
PROGRAM = (
    "import sys; sys.path += sys.argv[1:3]; "
    "from cas.engines.drgn.child.helpers import import_one_by_one; import_one_by_one(); "
    "from cas.engines.drgn.child.worker import main; main(int(sys.argv[3]))"
)
ENVIRONMENT = {
    # Other packages' plugins have no business with a hostile dump; drgn's own cost 0.2 s.
    "DRGN_DISABLE_PLUGINS": "*",
    # A thread that waits for another sleeps: drgn's read debug information in uneven parts.
    "OMP_WAIT_POLICY": "passive",
    "COLUMNS": "80",
}


class Running(NamedTuple):
    """The process, and the socket over which it is given files."""

    child: Child
    channel: socket.socket

    def end(self) -> None:
        """Kill it."""
        self.child.end()
        self.channel.close()


def start_drgn(confinement: Confinement) -> Running:
    """Start it.

    :param confinement: where it runs
    :raises EngineError: it cannot be started
    """
    confinement = replace(confinement, environment={**confinement.environment, **ENVIRONMENT})
    channel, theirs = socket.socketpair()
    # without site, whose hooks for other packages cost up to a tenth of the whole answer
    program: list[str | Path] = [Path(sys.executable).resolve(), "-I", "-S", "-c", PROGRAM]
    # Python itself, drgn and this package; and no way to open a descriptor for writing again
    needed = (Path(sys.base_prefix).resolve(), home_of_drgn(), PACKAGES / "cas")
    with theirs:
        number = theirs.fileno()
        child = Child(
            [*program, PACKAGES, home_of_drgn(), str(number)],
            confinement,
            VisibleFiles(dict(visible(needed)), (number,), has_proc=False),
        )
    return Running(child, channel)


def home_of_drgn() -> Path:
    """The directory that drgn's package is in.

    :raises EngineError: it is not installed
    """
    found = importlib.util.find_spec("drgn")
    if found is None or found.origin is None:
        raise EngineError("the Python package drgn is not installed", hint="pip install drgn")
    return Path(found.origin).parent.parent
