"""A seed's file, spoilt and put right again in place: cheap also for large seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.mutants import Mutant
from fuzz.seeds import SEEDS


class Bench:
    """A directory with a file of each seed that was asked for."""

    def __init__(self, directory: Path) -> None:
        """Write nothing yet."""
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def whole(self, seed: str) -> Path:
        """The file as it should be."""
        path = self._directory / seed
        if not path.exists():
            path.write_bytes(SEEDS[seed].data)
        return path

    @contextmanager
    def spoilt(self, mutant: Mutant) -> Iterator[Path]:
        """The file with a mutant's edits, for the length of a ``with`` block."""
        path, data = self.whole(mutant.seed), SEEDS[mutant.seed].data
        with path.open("r+b", buffering=0) as file:
            for offset, piece in mutant.edits:
                os.pwrite(file.fileno(), piece, offset)
            file.truncate(mutant.size)
            try:
                yield path
            finally:
                for offset, piece in mutant.edits:
                    os.pwrite(file.fileno(), data[offset : offset + len(piece)], offset)
                if mutant.size < len(data):
                    os.pwrite(file.fileno(), data[mutant.size :], mutant.size)
                file.truncate(len(data))

    def forget(self, seed: str) -> None:
        """After a worker's death the file is in an unknown state."""
        (self._directory / seed).unlink(missing_ok=True)
