"""Connections that go only where policy allows, and that end when a server stalls.

A name is resolved once; every address is checked, and the connection goes to a checked address, not
to the name. A second answer of the name server (DNS rebinding) is thus never used. Proxies of the
environment are not used: behind one we could not know where a connection ends.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from cas.errors import Refused
from cas.fetch.patience import network_problem
from cas.fetch.source import Broken, NetworkPolicy, NotConnected, PrivateNetworks
from cas.fetch.url import Url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
EMBEDDING = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped: RFC 4291, 2.5.5.2
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64's well-known prefix: RFC 6052, 2.1
)
"""The last four bytes of such an address are the IPv4 address that is reached."""


class PrivateAddress(Refused):
    """A URL leads into a private network."""

    hint = "if that is right here, set `privateAddresses = Yes` in cas.conf"


def is_private(text: str) -> bool:
    """Whether an address is anything else than a public host's.

    A site's own NAT64 prefix (RFC 8215) is private, for it may lead anywhere inside. 6to4
    (RFC 3056) and Teredo (RFC 4380) are: a relay, which may be ours, connects to the IPv4 address
    in them. Site-local addresses are, although RFC 3879 did away with them: networks have them yet.

    >>> [is_private(text) for text in ("10.0.0.1", "::ffff:127.0.0.1", "100.64.0.1", "9.9.9.9")]
    [True, True, True, False]
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in EMBEDDING):
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        elif address.sixtofour or address.teredo or address.is_site_local:
            return True
    return not address.is_global or address.is_multicast or address.is_reserved


def connected(url: Url, policy: NetworkPolicy) -> socket.socket:
    """A connection to the URL's host; a longer timeout than that of connecting is the caller's.

    :raises PrivateAddress: an address of the host may not be reached
    :raises NotConnected: there is no such host
    :raises Broken: nobody answers
    """
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        message = f"{url.shown_host} has no address: {error.strerror}"
        if error.errno in (socket.EAI_AGAIN, socket.EAI_SYSTEM):
            raise Broken(message) from error
        raise NotConnected(message) from error
    except (OSError, UnicodeError):
        raise NotConnected(f"{url.shown_host} cannot be the name of a host") from None
    for *_, address in found:
        is_refused = policy.private_networks is PrivateNetworks.REFUSED
        if is_refused and is_private(str(address[0])):
            host = url.shown_host
            shown = host if url.host == address[0] else f"{host} ({address[0]})"
            raise PrivateAddress(f"{shown} is in a private network, which is not allowed")
    problem = ""
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(policy.connect_s or policy.timeout_s)
        try:
            connection.connect(address)
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError):
                raise
            problem = network_problem(error)
        else:
            return connection
    is_named = url.hides_host or url.told_as is not None
    host = url.shown_host if is_named else url.authority
    raise Broken(f"{host} cannot be reached: {problem}")


def secure(connection: socket.socket, url: Url) -> ssl.SSLSocket:
    """TLS over a connection, with the certificate checked against the system's trust.

    An end without TLS's own goodbye is an error: a download cannot be cut short unnoticed.
    """
    context = ssl.create_default_context()
    try:
        return context.wrap_socket(connection, server_hostname=url.host, suppress_ragged_eofs=False)
    except BaseException:
        connection.close()
        raise


@contextmanager
def network_errors_told(url: Url) -> Iterator[None]:
    """Say what went wrong with a connection: later it may work, or never.

    :raises NotConnected: the server's certificate or its TLS is of no use
    :raises Broken: everything else
    """
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        why = "" if url.hides_host else f": {error.verify_message}"
        raise NotConnected(
            f"{url}: the certificate of {url.shown_host} is not trusted{why}",
            hint="if the site has its own authority, add it to the system's certificates",
        ) from None
    except ssl.SSLError as error:
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            raise Broken(f"{url}: the connection broke") from error
        raise NotConnected(
            f"{url}: TLS with {url.shown_host} failed: {network_problem(error)}"
        ) from error
    except OSError as error:
        raise Broken(f"{url}: {network_problem(error)}") from error
