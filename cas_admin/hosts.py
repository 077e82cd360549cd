"""The registered analysis hosts: which there are, and how they are."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

from cas.commands import Done, Output, World
from cas.errors import CasError, UsageError
from cas.frozen import dataclass
from cas.hosts.inventory import ask_all_hosts
from cas.hosts.registry import HostRegistry
from cas.model.host import Host
from cas.ssh import Destination, LoginOptions, account_of, home_of, servers_in_known_hosts
from cas.sweep.asking import ask_any_host
from cas_admin.host_table import host_complaints, json_of, table

SOME_FAILED = 3
NONE_OF_USE = 4
ADD = "cas-admin host add NAME[:PORT]"


class HostNotRegistered(UsageError):
    """No analysis host has this name."""

    hint = "the registered ones: cas-admin host list"


class HostTaken(UsageError):
    """A host is registered for another purpose."""

    hint = (
        "for the new purpose alone: cas-admin host remove NAME, then add it again; for both add it"
        " with its port: NAME:22"
    )


class NoCandidates(CasError):
    """known_hosts names no server that could be asked."""

    hint = f"name one: {ADD}"


@dataclass(frozen=True, slots=True)
class Address:
    """A host as it is named on a command line."""

    name: str
    port: int | None = None

    def means(self, host: Host) -> bool:
        """Whether it is this host; without a port any will do."""
        return self.name == host.name and self.port in (None, host.port)


def host_address(text: str) -> Address:
    """What NAME, NAME:PORT, an IPv6 address or ``[ADDRESS]:PORT`` means.

    :raises UsageError: it is none of these
    """
    if _is_ipv6(text):
        return Address(text)
    found = re.fullmatch(r"(\[(?P<inside>.*)\]|(?P<name>[^:]*))(:(?P<port>\d{1,5}))?", text)
    name = found and (found["inside"] or found["name"] or "")
    port = int(found["port"]) if found and found["port"] else None
    is_name = name and (re.fullmatch(r"\w[\w.-]{0,252}", name, re.ASCII) or _is_ipv6(name))
    if not name or not is_name or port == 0 or (port or 0) > 0xFFFF:
        raise UsageError(
            f"{text!r} names no host",
            hint="write NAME, NAME:PORT or [IPV6]:PORT; another user belongs into ~/.ssh/config",
        )
    return Address(name, port)


def search_known_hosts(world: World) -> Output:
    """Register the live ones of the servers that known_hosts names.

    :return: those; status 3 when some servers are of no use, 4 when all are
    :raises NoCandidates: it names none
    """
    registry = HostRegistry.of(world.config)
    registered = list(registry.all())
    named = servers_in_known_hosts(home_of(world.config.casuser))
    if named.hashed:
        what = "entry is" if named.hashed == 1 else "entries are"
        world.progress.warn(f"{named.hashed} {what} hashed in known_hosts: name the host: {ADD}")
    if not named.destinations:
        raise NoCandidates("known_hosts of the casuser names no host in the clear")
    keys = {(each.name, each.port) for each in named.destinations}
    for host in registered:
        if (host.name, host.port) not in keys:
            world.progress.say(f"{host} is not named in known_hosts and stays registered")
    asked = [
        _with_what_is_known(Host(each.name, each.port), registered) for each in named.destinations
    ]
    told, live = [], list[Host]()
    for before, host in zip(
        asked, ask_all_hosts(asked, world.config, world.progress, ask_any_host), strict=True
    ):
        found = _unless_twin(host, (*registered, *live), world)
        told.append(found)
        if found.checked != before.checked:  # it has answered
            live.append(found)
    for host in told:
        _store_host(host, registry, is_new=host in live)
    _warn_of_hosts(told, world)
    yield from map(Done, table(live))
    return _status_of_hosts(told)


def add_host(name: str, world: World, *, is_swept: bool = False) -> Output:
    """Register a host on which we can log in, or renew what is known of it.

    :param is_swept: it is to be swept for dumps, and not to analyse any
    :return: the host; status 3 when it is of no use as it is
    :raises HostTaken: it is registered for the other purpose
    :raises CasError: there is no login; nothing is stored
    """
    wanted = host_address(name)
    registry = HostRegistry.of(world.config)
    before = _with_what_is_known(Host(wanted.name, wanted.port, is_swept=is_swept), registry.all())
    if before.is_swept != is_swept:
        purpose = "be swept" if before.is_swept else "analyse dumps"
        raise HostTaken(f"{before} is registered already, to {purpose}")
    world.progress.say(f"Asking {name}")
    host = ask_any_host(before, world.config)
    _store_host(host, registry, is_new=True)
    _warn_of_hosts([host], world)
    yield from map(Done, table([host]))
    return SOME_FAILED if host.problem else 0


def list_hosts(world: World, *, as_json: bool) -> Output:
    """The registered hosts, as they were when they were last checked."""
    hosts = HostRegistry.of(world.config).all()
    _warn_of_hosts(hosts, world)
    _say_if_none(hosts, world)
    yield from (json_of(hosts),) if as_json else table(hosts)
    return 0


def check_hosts(names: Sequence[str], world: World, *, as_json: bool) -> Output:
    """Renew what is known of hosts, side by side.

    :param names: which; none: all, where disabled ones do not count for the status
    :return: status 3 when some are of no use, 4 when all are
    :raises HostNotRegistered: a name is none of a host
    """
    registry = HostRegistry.of(world.config)
    hosts = _hosts_named(names, registry) if names else registry.all()
    _say_if_none(hosts, world)
    told = ask_all_hosts(hosts, world.config, world.progress, ask_any_host) if hosts else ()
    for host in told:
        registry.renew(host)
    _warn_of_hosts(told, world)
    judged = [host for host in told if names or host.is_enabled]
    yield from (json_of(told),) if as_json else table(told)
    return _status_of_hosts(judged)


def enable_hosts(names: Sequence[str], world: World, *, is_enabled: bool) -> Output:
    """Let jobs use hosts, or not.

    :raises HostNotRegistered: a name is none of a host; nothing is changed
    """
    registry = HostRegistry.of(world.config)
    hosts = _hosts_named(names, registry)
    for host in hosts:
        registry.enable(host, is_enabled=is_enabled)
        yield Done(f"{'enabled' if is_enabled else 'disabled'} {host}")
    return 0


def remove_hosts(names: Sequence[str], world: World) -> Output:
    """Forget hosts; what lies on them stays.

    :raises HostNotRegistered: a name is none of a host; nothing is changed
    """
    registry = HostRegistry.of(world.config)
    hosts = _hosts_named(names, registry)
    for host in hosts:
        registry.remove(host)
        yield Done(f"removed {host}")
    return 0


def _with_what_is_known(host: Host, registered: Iterable[Host]) -> Host:
    """A host with what is known of it."""
    same = (each for each in registered if (each.name, each.port) == (host.name, host.port))
    return next(same, host)


def _unless_twin(host: Host, others: Iterable[Host], world: World) -> Host:
    """A host, unless it is one that is registered under another name."""
    for other in others:
        if (other.name, other.port) == (host.name, host.port):
            return host
        is_same = host.host_key and other.host_key == host.host_key
        if is_same and not _network_addresses(host, world).isdisjoint(
            _network_addresses(other, world)
        ):
            problem = f"{host} is the same machine as {other}"
            return Host(host.name, host.port, problem=f"{problem}; if not: {ADD}")
    return host


def _network_addresses(host: Host, world: World) -> set[tuple[str, int]]:
    """Where a host is reached: addresses and port; nothing if there is no telling."""
    config = world.config
    try:
        means = LoginOptions(home_of(config.casuser), config.casuser)
        account = account_of(Destination(host.name, host.port), means)
        found = socket.getaddrinfo(account.host, account.port, type=socket.SOCK_STREAM)
    except (CasError, OSError, UnicodeError):
        return set()
    return {(str(address[0]), int(address[1])) for *_, address in found}


def _store_host(host: Host, registry: HostRegistry, *, is_new: bool) -> None:
    """Keep what is known of a host, and a new one only if it shall be registered."""
    if not registry.renew(host) and is_new:
        registry.put(host)


def _hosts_named(names: Sequence[str], registry: HostRegistry) -> list[Host]:
    registered = registry.all()
    chosen = []
    for name in names:
        wanted = host_address(name)
        found = [host for host in registered if wanted.means(host)]
        exact = [host for host in found if host.port == wanted.port]
        if not found:
            raise HostNotRegistered(f"{name} is no registered host")
        if len(found) > 1 and not exact:
            ports = ", ".join(str(host) for host in found)
            raise HostNotRegistered(f"{name} may be any of {ports}", hint="name the port as well")
        chosen.append((exact or found)[0])
    return list(dict.fromkeys(chosen))


def _say_if_none(hosts: Sequence[Host], world: World) -> None:
    if not hosts:
        world.progress.say(f"no analysis host is registered; to register one: {ADD}")


def _warn_of_hosts(hosts: Iterable[Host], world: World) -> None:
    for line in host_complaints(hosts):
        world.progress.warn(line)


def _status_of_hosts(hosts: Sequence[Host]) -> int:
    failed = sum(host.problem is not None for host in hosts)
    if not failed:
        return 0
    return NONE_OF_USE if failed == len(hosts) else SOME_FAILED


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
