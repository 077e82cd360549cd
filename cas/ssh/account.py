"""How to log in on a server: what the caller asks, then ~/.ssh/config, then what is usual."""

from __future__ import annotations

import getpass
import os
import pwd
import re
from dataclasses import field, replace
from pathlib import Path

from cas.frozen import dataclass
from cas.ssh.failures import SshError
from cas.ssh.settings import Settings, settings_of
from cas.text import short_line

SSH_PORT = 22
KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
NAME_CHARACTERS = 253
"""Characters of a host's name, see RFC 1123, 2.1, or of a user's, at most."""
HOPS = 8
"""Servers on the way to one."""
SYSTEM_KNOWN_HOSTS = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))
USER_KNOWN_HOSTS = ("known_hosts", "known_hosts2")
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<address>[^\]]+)\]|(?P<name>[^:@\[\]/]+))"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A server as a person names it."""

    name: str
    port: int | None = None
    """``None``: what ~/.ssh/config says, else 22."""
    user: str | None = None

    def __str__(self) -> str:
        if self.port is None:
            return self.name
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """Whose keys and settings are used, and for how long a server is waited for."""

    home: Path = field(default_factory=Path.home)
    """Where ``.ssh`` is."""
    user: str | None = None
    """On servers for which nobody says another one; ``None``: our own."""
    sshkey: Path | None = None
    timeout_s: float = 15.0
    password: str | None = field(default=None, repr=False)
    agent: Path | None = field(
        default_factory=lambda: (
            Path(socket) if (socket := os.environ.get("SSH_AUTH_SOCK")) else None
        )
    )
    """The socket of an ssh-agent."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Where the keys of a server are known from."""

    name: str
    """How known_hosts calls the server, in lower case."""
    files: tuple[Path, ...]
    revoking: tuple[Path, ...]
    """More known_hosts files, in which only ``@revoked`` counts: settings never weaken."""
    revoked: Path | None = None
    """Public keys, a line each."""


@dataclass(frozen=True, slots=True)
class Account:
    """How to log in."""

    host: str
    """Name or address to connect to."""
    port: int
    user: str
    keys: tuple[Path, ...]
    """Private keys, or public ones of keys in the agent, that are for this server."""
    pins: Pins
    jumps: tuple[Destination, ...] = ()
    """Servers to go through, the nearest first."""
    usual_keys: tuple[Path, ...] = ()
    """Tried last."""
    certificate: Path | None = None
    agent: Path | None = None
    is_agent_limited: bool = False
    """Only those of its keys are used that `keys` names."""

    def __str__(self) -> str:
        return known_hosts_name(self.host, self.port)


def home_of(casuser: str | None) -> Path:
    """The home directory of the user that cas runs as.

    :raises SshError: there is no such user
    """
    if casuser in (None, getpass.getuser()):
        return Path.home()
    try:
        return Path(pwd.getpwnam(str(casuser)).pw_dir)
    except KeyError:
        raise SshError(
            f"there is no user {casuser}", hint="correct `casuser` in cas.conf"
        ) from None


def known_hosts_name(host: str, port: int) -> str:
    """How known_hosts calls a server."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def account_of(destination: Destination, options: LoginOptions) -> Account:
    """How to log in on a server.

    :raises SshError: ~/.ssh/config cannot be used
    """
    settings = settings_of(destination.name, options.home)
    port = destination.port
    if not port:
        said = settings.word("port") or str(SSH_PORT)
        if not re.fullmatch(r"[0-9]{1,5}", said) or not 0 < int(said) < 1 << 16:
            raise SshError(f"{settings.path} has a Port that is none")
        port = int(said)
    host = (settings.word("hostname") or destination.name).lower()
    user = destination.user or settings.word("user") or options.user or getpass.getuser()
    for word in (host, user):
        if not word.isprintable() or len(word) > NAME_CHARACTERS:
            raise SshError(f"{short_line(word, NAME_CHARACTERS)} cannot be a name for ssh")
    named = settings.files("identityfile")
    usual = (options.home / ".ssh" / name for name in KEYS)
    keys = [options.sshkey, *(named or ())]
    # the agent of IdentityAgent, or that of our environment
    agent, agents = options.agent, settings.files("identityagent")
    if agents is not None and agents != (Path("SSH_AUTH_SOCK"),):
        agent = agents[0] if agents else None
    return Account(
        host,
        port,
        user,
        tuple(dict.fromkeys(key for key in keys if key)),
        _pins_of(
            settings, options.home, settings.word("hostkeyalias") or known_hosts_name(host, port)
        ),
        _jumps_of(settings),
        () if named else tuple(usual),
        next(iter(settings.files("certificatefile") or ()), None),
        agent,
        settings.is_on("identitiesonly"),
    )


def route_to(destination: Destination, options: LoginOptions) -> tuple[Account, ...]:
    """The servers to log in on, one through the other; the last one is meant.

    :raises SshError: ~/.ssh/config cannot be used, or leads in a circle
    """
    return _route(account_of(destination, options), replace(options, password=None), ())


def _route(account: Account, options: LoginOptions, behind: tuple[str, ...]) -> tuple[Account, ...]:
    """The way to a server, through the way to the first of its jumps."""
    if not account.jumps:
        return (account,)
    first, *others = (account_of(jump, options) for jump in account.jumps)
    behind = (*behind, str(account))
    if str(first) in behind or len(behind) + len(others) > HOPS:
        raise SshError(
            f"ProxyJump leads in a circle: {' from '.join((str(first), *behind[::-1]))}",
            hint=f"write `ProxyJump none` for {first.host} into ~/.ssh/config",
        )
    return (*_route(first, options, behind), *others, account)


def _jumps_of(settings: Settings) -> tuple[Destination, ...]:
    """Source: ssh_config(5), ProxyJump: ``[user@]host[:port]`` or a URI, with commas between."""
    jumps = []
    for word in (settings.word("proxyjump") or "").replace(",", " ").split():
        found = _JUMP.fullmatch(word)
        if not found or not 0 < int(found["port"] or SSH_PORT) < 1 << 16:
            raise SshError(f"{settings.path} has a ProxyJump that cannot be read")
        port = int(found["port"]) if found["port"] else None
        jumps.append(Destination(found["address"] or found["name"], port, found["user"]))
    return tuple(jumps)


def _pins_of(settings: Settings, home: Path, name: str) -> Pins:
    """Settings may name other files; what ours revoke stays revoked."""
    usual = tuple(home / ".ssh" / file for file in USER_KNOWN_HOSTS)
    mine, system = settings.files("userknownhostsfile"), settings.files("globalknownhostsfile")
    revoked = settings.files("revokedhostkeys") or (None,)
    return Pins(
        name.lower(),
        (*(usual if mine is None else mine), *(SYSTEM_KNOWN_HOSTS if system is None else system)),
        (*usual, *SYSTEM_KNOWN_HOSTS),
        revoked[0],
    )
