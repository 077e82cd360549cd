"""What a package's compressed part holds: told by its first bytes, and unpacked piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO

from cas.streams import xz_blocks
from cas.streams.decompress import Decompress, bunzip2, gunzip, unlzma, unxz, unzstd
from cas.streams.flow import BLOCK_BYTES, Damaged, Flow, Piece
from cas.streams.layer import Layer
from cas.streams.wrapping import PEEK_BYTES, wrapping

OF_PACKAGES: dict[str, Decompress] = {
    "gzip": gunzip,
    "bzip2": bunzip2,
    "xz": unxz,
    "lzma": unlzma,
    "zstd": unzstd,
}
_BLOCK_MEMORY_BYTES = 24 << 20
"""For each of two decoders at a time; xz's usual setting needs 9 MiB."""


def unpacked(flow: Flow, layer: Layer) -> Iterator[Piece]:
    """The content of a compressed stream, by its first bytes; an uncompressed one as it is.

    :raises Damaged: while reading
    """
    decompress = OF_PACKAGES.get(wrapping(flow.peek(PEEK_BYTES)) or "")
    return decompress(flow, layer) if decompress else flow.rest()


@contextmanager
def unpacked_stretch(
    file: BinaryIO,
    place: tuple[int, int],
    layer: Layer,
    advance: Callable[[int], None],
    ahead_bytes: int = xz_blocks.AHEAD_BYTES,
) -> Iterator[Flow]:
    """The content of a compressed stretch of a file; two threads unpack the blocks of xz data.

    :param place: its offset in the file, and its length, in bytes
    :param advance: told how many compressed bytes have been read
    :param ahead_bytes: that may be unpacked beyond what was asked for
    :raises Damaged: while reading, also where the file cannot be read
    """
    begin, size = place

    def file_blocks() -> Iterator[bytes]:
        left = size
        while left and (block := file.read(min(left, BLOCK_BYTES))):
            advance(len(block))
            left -= len(block)
            yield block

    def stretch_pieces() -> Generator[Piece, None, None]:
        try:
            limits = xz_blocks.Limits(_BLOCK_MEMORY_BYTES, ahead_bytes)
            blocks = xz_blocks.layout(file.fileno(), begin, begin + size)
            if blocks and xz_blocks.fits_memory(file.fileno(), blocks[0], limits):
                yield from xz_blocks.unpack_blocks(file.fileno(), blocks, limits, advance)
                return
            file.seek(begin)
            yield from unpacked(Flow(file_blocks()), layer)
        except OSError as error:
            raise Damaged(f"it cannot be read: {error.strerror}") from error
        except (MemoryError, RuntimeError) as error:  # no thread can be started
            raise Damaged(f"{error}") from error

    with closing(stretch_pieces()) as pieces:
        yield Flow(pieces)
