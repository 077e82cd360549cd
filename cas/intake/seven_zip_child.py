"""A program of its own: a 7z archive's files on standard output, as a tar archive.

usage: python seven_zip_child.py ARCHIVE

It runs apart because the library's memory cannot be bounded from inside: a header may ask for any
number of files. Names are passed on as they are; who reads the tar does not obey them.
Exit status: 3 it is encrypted, 4 its method is unknown, 1 it is damaged.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import Any

ENCRYPTED, UNKNOWN = 3, 4
BLOCK_BYTES = 1 << 20


class _File:
    """One file, on its way into the tar."""

    def __init__(self, name: str, size: int) -> None:
        header = tarfile.TarInfo(name)
        header.size = size
        self._padding = -size % 512
        sys.stdout.buffer.write(header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def write(self, data: bytes) -> int:
        return sys.stdout.buffer.write(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """py7zr rewinds what it has written; nothing is read again here."""
        return offset

    def close(self) -> None:
        sys.stdout.buffer.write(bytes(self._padding))

    def flush(self) -> None:
        pass


class _Factory:
    def __init__(self, files: list[Any]) -> None:
        self._files = files

    def create(self, number: str) -> _File:
        file = self._files[int(number)]
        return _File(file.filename, file.uncompressed)


def main(path: Path) -> None:
    """Write the tar."""
    import py7zr
    from py7zr.io import MemIO

    # else it unpacks 128 MB at a time
    setattr(py7zr.py7zr, "get_memory_limit", lambda: BLOCK_BYTES)  # noqa: B010
    with path.open("rb") as file, py7zr.SevenZipFile(file) as archive:
        files = list(archive.files)
        factory: Any = _Factory(files)
        worker = archive.worker
        for number, member in enumerate(files):
            if not member.is_directory and not member.is_socket:
                worker.register_filelike(member.id, MemIO(str(number), factory))
        worker.extract(archive.fp, None, parallel=False, skip_notarget=False)
    sys.stdout.buffer.write(bytes(1024))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception as error:
        sys.stdout.buffer.flush()
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        from py7zr import exceptions

        if isinstance(error, exceptions.PasswordRequired):
            sys.exit(ENCRYPTED)
        sys.exit(UNKNOWN if isinstance(error, exceptions.UnsupportedCompressionMethodError) else 1)
