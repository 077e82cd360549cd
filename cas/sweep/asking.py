"""How a host is that is to be swept: whether we can log in, and look into its directories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from cas.hosts.inventory import ask_host
from cas.model.host import Host
from cas.settings.config import Config
from cas.sweep.far_host import SUDO, reached
from cas.sweep.walk import Walk, told_together


def ask_swept_host(host: Host, config: Config) -> Host:
    """A host that is swept with the facts of this moment.

    :raises CasError: there is no login, or no sftp
    """
    rules = config.sweep_rules(host)
    with reached(host, rules, config) as there:
        walk = Walk(there)
        walk.through(rules.directories)
        key = there.host_key
    problems = told_together(walk.problems)
    problem = f"{problems}: {SUDO}" if problems else None
    absent = tuple(f"{left.path}: {left.why}" for left in walk.left if left.path.startswith("/"))
    remarks = absent if walk.entries == 0 else ()
    return replace(host, checked=datetime.now(UTC), host_key=key, problem=problem, remarks=remarks)


def ask_any_host(host: Host, config: Config) -> Host:
    """A host with the facts of this moment, whatever it is for.

    :raises CasError: there is no login, or it answers nothing of use
    """
    return ask_swept_host(host, config) if host.is_swept else ask_host(host, config)
