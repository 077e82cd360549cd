"""``cas upload URL``: fetched into the archive, and gone on with where it stopped."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetch_servers import Parts, Request, Web, web

sys.path.append(str(Path(__file__).parents[1] / "archive"))

from made_crashes import FULL, files_of_crash

from installed import Site

SENT = 5000


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        yield running


def hang(request: Request, parts: Parts) -> None:
    parts.send_part(request, sent=SENT)
    request.wfile.flush()
    parts.go_on.wait(60)


def test_an_upload_of_a_url_goes_on_where_the_last_one_stopped(
    site: Site, server: Web, tmp_path: Path
) -> None:
    site.settings |= {"debugs": f"{tmp_path}/debugs", "privateAddresses": "yes"}
    dump = files_of_crash(tmp_path / "given")[FULL]
    parts = Parts(dump, faults={2: hang})
    server.files["/dumps/vmcore"] = parts
    url = server.url("/dumps/vmcore")
    with site.start("cas", "upload", url) as first:
        incoming = site.jobs / ".archive" / "incoming"
        while not any(path.stat().st_size for path in incoming.glob("*/download/.*.part")):
            assert first.poll() is None
            time.sleep(0.05)
        first.kill()
    parts.go_on.set()
    asked = len(parts.ranges)
    second = site.cas("upload", url)
    assert (second.returncode, second.stdout) == (0, site.cas("object", dump).stdout)
    assert f"bytes={SENT}-" in parts.ranges[asked:]
    found = json.loads(site.cas("info", second.stdout.strip()).stdout)
    assert Path(found["dump"]).read_bytes() == dump.read_bytes()
    assert found["files"][0]["name"] == "vmcore"
    assert list(incoming.iterdir()) == []
