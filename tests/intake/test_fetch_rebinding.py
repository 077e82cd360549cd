"""A name that leads somewhere else when it is asked again: only checked addresses are reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from installed import needs

PUBLIC = "9.9.9.9"


def fetch(directory: Path, answers: str, url: str) -> dict[str, Any]:
    """The result, the requests that arrived, and how often the name server was asked."""
    needs("ip")
    resolver = directory / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    bwrap = [needs("bwrap"), "--unshare-user", "--unshare-net", "--uid", "0", "--gid", "0"]
    bwrap += ["--cap-add", "ALL", "--dev-bind", "/", "/"]
    bwrap += ["--ro-bind", resolver, str(Path("/etc/resolv.conf").resolve())]
    if subprocess.run([*bwrap, "true"], check=False, capture_output=True).returncode:
        pytest.skip("bubblewrap cannot make a network namespace here")
    script = Path(__file__).with_name("fetch_namespace.py")
    argv = [*bwrap, sys.executable, script, directory, answers, url]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_checked_address_is_the_one_that_is_reached(tmp_path: Path) -> None:
    """One question for the file and one for its checksum; a third answer would lead inside."""
    found = fetch(tmp_path, f"{PUBLIC};{PUBLIC};127.0.0.1", "http://rebind.test/vmcore")
    assert found == {
        "result": PUBLIC,
        "asked": [f"{PUBLIC}/vmcore", f"{PUBLIC}/vmcore.sha256"],
        "questions": 2,
    }


@pytest.mark.parametrize(
    "answers", ["127.0.0.1", f"{PUBLIC},127.0.0.1", f"{PUBLIC};169.254.169.254"]
)
def test_a_name_that_leads_inside_is_refused(answers: str, tmp_path: Path) -> None:
    found = fetch(tmp_path, answers, "http://rebind.test/vmcore")
    assert found["result"].startswith("PrivateAddress: rebind.test (")
    assert set(found["asked"]) <= {f"{PUBLIC}/vmcore"}
    assert not (tmp_path / "job/vmcore").exists()


def test_a_redirect_that_leads_inside_is_refused(tmp_path: Path) -> None:
    found = fetch(tmp_path, PUBLIC, "http://rebind.test/inside")
    assert found["result"].startswith("PrivateAddress: 127.0.0.1 ")
    assert found["asked"] == [f"{PUBLIC}/inside"]
