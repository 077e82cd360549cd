"""Compressed parts of packages: told by their first bytes, unpacked in little memory."""

import bz2
import gzip
import lzma
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from cas.streams.flow import Damaged, Flow
from cas.streams.layer import Payload
from cas.streams.unpacked import unpacked

from installed import needs

CONTENT = b"".join(random.Random(7).randbytes(1000) * 500 for _ in range(3))  # noqa: S311


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress, bytes],
)
def test_streams_one_after_the_other_are_one(compress: Callable[[bytes], bytes]) -> None:
    packed = compress(CONTENT) + compress(CONTENT[:5000])
    assert b"".join(unpacked(Flow([packed]), Payload())) == CONTENT + CONTENT[:5000]


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
)
def test_a_stream_cut_short_is_damaged(compress: Callable[[bytes], bytes]) -> None:
    packed = compress(CONTENT)
    with pytest.raises(Damaged):
        list(unpacked(Flow([packed[: len(packed) // 2]]), Payload()))


SIZE_BYTES = 300 << 20


def test_memory_stays_small_whatever_the_payload_becomes(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zst"
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run([needs("zstd"), "-q", "-1", zeros, "-o", bomb], check=True)
    script = (
        "import sys; from cas.streams.flow import Flow; from cas.streams.layer import Payload\n"
        "from cas.streams.unpacked import unpacked\n"
        "pieces = iter(lambda: file.read(1 << 18), b''); file = open(sys.argv[1], 'rb')\n"
        "size = sum(map(len, unpacked(Flow(pieces), Payload())))\n"
        # not ru_maxrss, which a child inherits from the process that forked it
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(size, peak.split()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, bomb], capture_output=True, text=True, check=True
    )
    size, peak_kib = map(int, done.stdout.split())
    assert size == SIZE_BYTES
    assert peak_kib < 150 << 10
