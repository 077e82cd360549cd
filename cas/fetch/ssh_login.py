"""A login by ssh for a download: :mod:`cas.ssh`, below the rules of a URL."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import paramiko

from cas.errors import FetchError
from cas.fetch.network import connect
from cas.fetch.source import Broken, Denied, FetchPolicy
from cas.fetch.url import PORTS, Url
from cas.ssh import Destination, LoginDenied, Means, SshError, Unreachable
from cas.ssh import logged_in as logged_in_on


@contextmanager
def logged_in(url: Url, policy: FetchPolicy) -> Iterator[paramiko.Transport]:
    """A connection on which the server and the user have proved who they are.

    :raises Refused: the server's key is not believed, or its network is private
    :raises Denied: no key or password is accepted
    :raises FetchError: there is no such host, or ~/.ssh or the server is of no use
    :raises Broken: the connection broke
    """
    port = None if url.port == PORTS["sftp"] else url.port
    destination = Destination(url.host, port, url.user)
    means = Means(
        policy.home, sshkey=policy.sshkey, timeout_s=policy.timeout_s, password=url.password
    )

    def reach(host: str, port: int) -> socket.socket:
        return connect(replace(url, host=host, port=port), policy)

    with ExitStack() as stack:
        with _translated(url):
            connection = stack.enter_context(logged_in_on(destination, means, reach))
        yield connection.transport


@contextmanager
def _translated(url: Url) -> Iterator[None]:
    try:
        yield
    except LoginDenied as error:
        raise Denied(f"{url}: {error}", hint=error.hint) from None
    except SshError as error:
        raise FetchError(f"{url}: {error}", hint=error.hint) from None
    except Unreachable as error:
        raise Broken(f"{url}: {error}") from None
