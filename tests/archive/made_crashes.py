"""Small dumps of made-up crashes: several files of one, and as many crashes as are wanted."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "dump"))

from writer import PAGE, Elf, Kdump, Note, flattened, info_note, vmcoreinfo

FULL, FILTERED, CUT, FLAT, PIECE = "full.elf", "filtered.kdump", "cut.elf", "full.flat", "piece.elf"


def files_of_crash(directory: Path, number: int = 0) -> dict[str, Path]:
    """Files of one crash by name, from the best to the least."""
    info, registers = _of(number)
    full = Elf({1 << 20: bytes(range(256)) * 64}, (registers, info_note(info))).build()
    kdump = Kdump({5: b"page" * (PAGE // 4)}, info=info, notes=(registers,)).build()
    contents = {
        FULL: full,
        FLAT: flattened(full, seed=3),
        FILTERED: kdump,
        CUT: full[:-5000],
        PIECE: full[:-9000],
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return {name: directory / name for name in contents}


def weak_files(directory: Path) -> list[Path]:
    """Two dumps that do not say when they crashed, of one machine since its boot."""
    told = b"OSRELEASE=6.1.0-test\nPAGESIZE=4096\n"
    notes = (_of(0)[1], info_note(told))
    files = [directory / name for name in ("first.elf", "second.elf")]
    for number, file in enumerate(files):
        file.write_bytes(Elf({1 << 20: bytes([number]) * 4096}, notes).build())
    return files


def _of(number: int) -> tuple[bytes, Note]:
    info = vmcoreinfo(CRASHTIME=str(1_740_997_500 + number))
    return info, ("CORE", 1, bytes(range(1, 113)) * 3)
