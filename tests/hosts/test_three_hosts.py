"""Three hosts with addresses of their own, one of which fails while jobs run: `sweep` in small."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from host_trials import FAULTS, SharedSite, left_behind, prepare, run_job
from three_hosts import HostInNamespace, three_hosts

from installed import FIXTURES, Site

WAIT_S = 120.0
DUMP = FIXTURES / "b" / "vmcore.kdump"
"""crash opens it in half the time of the other."""


def first_busy(hosts: Sequence[HostInNamespace]) -> HostInNamespace:
    """A host on which a snippet runs at this moment."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        for host in hosts:
            if any(line.startswith("sleep ") for line in host.processes()):
                return host
        time.sleep(0.05)
    raise AssertionError("no host got a job")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["stop"])
def test_jobs_of_a_host_that_fails_are_done_by_others_and_only_once(
    site: Site, tmp_path: Path, kind: str
) -> None:
    site.settings["kernels"] = str(DUMP.parent)
    assert site.admin("-b").returncode == 0
    shared = SharedSite(site.directory, site.settings)
    with three_hosts(tmp_path / "hosts", tmp_path) as hosts, ThreadPoolExecutor(2) as pool:
        expected = prepare(shared, hosts, DUMP)
        shared.settings["hostKeepalive"] = "3"
        shared.configure()
        jobs = [pool.submit(run_job, shared, ticket, DUMP, expected) for ticket in ("T-1", "T-2")]
        begin, end = FAULTS[kind]
        failing = first_busy(hosts)
        begin(failing)
        trials = [job.result() for job in jobs]
        end(failing)
        assert [trial.complaints for trial in trials] == [(), ()]
        assert failing.name not in {shared.result(trial.ticket)["host"] for trial in trials}
        assert [left_behind(host) for host in hosts] == [[], [], []]
