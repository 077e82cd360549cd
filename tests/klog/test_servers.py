"""Servers of which the log says that they do not answer."""

from __future__ import annotations

import pytest

from cas.klog.lines import Log
from cas.klog.servers import silent_servers

SAID = "nfs: server filer-7 not responding, still trying"


@pytest.mark.parametrize(
    ("lines", "silent"),
    [
        ([], {}),
        ([SAID], {"filer-7": 10.0}),
        ([SAID, SAID], {"filer-7": 10.0}),
        ([SAID, "nfs: server filer-7 OK"], {}),
        ([SAID, "nfs: server filer-7 OK", SAID], {"filer-7": 12.0}),
        ([SAID, "nfs: server other OK"], {"filer-7": 10.0}),
        (["lockd: server 10.0.0.9 not responding, timed out"], {"10.0.0.9": 10.0}),
        (["sd 0:0:0:0: device not responding, gone"], {}),
    ],
)
def test_a_server_is_silent_until_it_answers(lines: list[str], silent: dict[str, float]) -> None:
    log = Log("\n".join(f"[   {10 + n}.000000] {line}" for n, line in enumerate(lines)))
    assert {each.name: each.uptime_s for each in silent_servers(log)} == silent
