"""zstd frames: where they end, and whether they are whole, is told by their own headers."""

import random

import pytest
import zstandard

from cas.streams.decompress import unzstd, unzstd_frame
from cas.streams.flow import CutOff, Damaged, Flow
from cas.streams.layer import PACKAGE, Payload

CONTENT = random.Random(9).randbytes(3000) * 200 + bytes(700_000)  # noqa: S311
KINDS = {
    "plain": zstandard.ZstdCompressor(),
    "without size": zstandard.ZstdCompressor(write_content_size=False),
    "with checksum": zstandard.ZstdCompressor(write_checksum=True),
    "small": zstandard.ZstdCompressor(level=19),
}


def frame(kind: str) -> bytes:
    return KINDS[kind].compress(CONTENT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_the_flow_stands_behind_the_frame(kind: str, step: int) -> None:
    data = frame(kind) + b"what follows"
    flow = Flow(data[at : at + step] for at in range(0, len(data), step))
    assert b"".join(unzstd_frame(flow, PACKAGE)) == CONTENT
    assert flow.read(100) == b"what follows"


def test_an_empty_frame_is_empty() -> None:
    for pieces in ([zstandard.compress(b""), b"x"], [zstandard.compress(b"") + b"x"]):
        flow = Flow(pieces)
        assert b"".join(unzstd_frame(flow, PACKAGE)) == b""
        assert flow.read(2) == b"x"
    assert b"".join(unzstd_frame(Flow([zstandard.compress(b"")]), PACKAGE)) == b""


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_cut_anywhere_is_cut_off_behind_what_came(kind: str) -> None:
    whole = frame(kind)
    for length in (*range(40), *range(40, len(whole), 997), *range(len(whole) - 6, len(whole))):
        content = b""
        with pytest.raises(CutOff):
            for piece in unzstd_frame(Flow([whole[:length]]), PACKAGE):
                content += piece
        assert CONTENT.startswith(content)


def test_frames_between_skippable_ones_are_one_stream() -> None:
    skippable = b"\x50\x2a\x4d\x18\x05\0\0\0hello"
    data = frame("plain") + skippable + frame("small") + skippable
    assert b"".join(unzstd(Flow([data]), Payload())) == CONTENT * 2


def test_what_a_package_has_behind_its_end_is_damage_unless_it_is_padding() -> None:
    assert b"".join(unzstd(Flow([frame("plain"), bytes(600)]), Payload())) == CONTENT
    with pytest.raises(Damaged, match="stands behind its end"):
        list(unzstd(Flow([frame("plain"), b"\0x"]), Payload()))


def test_a_wrong_checksum_and_a_wide_window_are_damage() -> None:
    wrong = frame("with checksum")[:-1] + b"\0"
    with pytest.raises(Damaged):
        list(unzstd_frame(Flow([wrong]), PACKAGE))
    window_of_2_gib = b"\x28\xb5\x2f\xfd\x00\xa8" + (1 << 3 | 1).to_bytes(3, "little") + b"D"
    with pytest.raises(Damaged):
        list(unzstd_frame(Flow([window_of_2_gib]), PACKAGE))


def test_what_the_flow_itself_raises_passes() -> None:
    class Stopped(Exception):
        pass

    def pieces():  # type: ignore[no-untyped-def]
        yield frame("plain")[:1000]
        raise Stopped

    with pytest.raises(Stopped):
        list(unzstd_frame(Flow(pieces()), PACKAGE))
