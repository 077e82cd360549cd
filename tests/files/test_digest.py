"""Whether a kept dump is what was received."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.errors import DumpChanged
from cas.files.digest import DumpDigest, Fingerprint


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "vmcore"
    path.write_bytes(b"x" * 10_000)
    return path


def test_a_dump_that_is_written_to_after_its_digest_was_taken_is_noticed(dump: Path) -> None:
    with DumpDigest(lambda: dump) as digest:
        assert digest.result().size_bytes == 10_000
        dump.touch()
        assert digest.result().size_bytes == 10_000
        with dump.open("r+b") as file:
            file.write(b"y")
        with pytest.raises(DumpChanged, match="has another content than was received"):
            digest.result()


@pytest.mark.parametrize("method", ["sha256:", "sha256-4MiB:"])
def test_a_dump_is_compared_by_the_method_that_was_recorded(dump: Path, method: str) -> None:
    recorded = Fingerprint(0, method).like(dump)
    assert recorded.digest.startswith(method)
    with DumpDigest(lambda: dump, recorded) as digest:
        assert digest.result() == recorded
    dump.write_bytes(b"x" * 9_999)
    with DumpDigest(lambda: dump, recorded) as digest, pytest.raises(DumpChanged, match="9,999"):
        digest.result()
