"""A debug file from a debuginfod server, in pieces that may be used before the last one is there.

Other than an upload it grows in no file that a later run goes on with: after a break what is
missing is asked for at once, with the last bytes that came, which must be the same again.

Source: debuginfod(8), "WEBAPI".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from cas.errors import FetchError, Refused, UsageError
from cas.fetch import http
from cas.fetch.source import (
    Broken,
    Changed,
    Had,
    InTrouble,
    NetworkPolicy,
    NotConnected,
    NotThere,
    PrivateNetworks,
    Version,
)
from cas.fetch.url import Url, parse_url
from cas.settings.rules import DebuginfodRules
from cas.text import short_line
from cas.units import human_size

CONNECTIONS = 3
"""A file may take so many."""
OVERLAP_BYTES = 64 << 10
CONNECT_S = 20.0
"""A server that unpacks a package answers late, but it takes a connection at once."""
_HOST_CHARACTERS = 120
_ELF = b"\x7fELF"


class ServerFailed(FetchError):
    """A debuginfod server gives nothing that can be used."""


class NotServed(ServerFailed):
    """A debuginfod server has no such file."""


class Unreachable(ServerFailed):
    """A debuginfod server cannot be connected to, or is silent: others are asked instead."""


class Useless(ServerFailed):
    """What a debuginfod server sends is not the file that it was asked for."""


class StartOver(ServerFailed):
    """The connection broke, and the file comes again from its beginning."""


class Transfer:
    """A file on its way; `debug_file` opens it."""

    def __init__(self, url: Url, rules: DebuginfodRules, stack: ExitStack) -> None:
        """Name it; nothing is asked yet.

        :param stack: closes its connection at the end
        """
        self._url = url
        self._rules = rules
        self._stack = stack
        self._connections = 0
        self._offset = 0
        self._tail = b""
        """The last bytes that came; after a break they are asked for once more, and compared."""
        self._version = Version()

    @property
    def size_bytes(self) -> int | None:
        """Bytes of the whole file; ``None`` when the server does not tell."""
        return self._version.size_bytes

    def ask_server(self, had: Had) -> None:
        """Ask for it, from where it broke off.

        :raises Broken: the server breaks off, or cannot be reached
        :raises ServerFailed: it says anything else but what can be used
        """
        policy = NetworkPolicy(
            PrivateNetworks.REFUSED_BEHIND_PUBLIC,
            self._rules.timeout_s,
            min(self._rules.timeout_s, CONNECT_S),
        )
        self._connections += 1
        self._stack.close()
        try:
            self._body = self._stack.enter_context(http.opened_by_http(self._url, policy, had))
        except NotThere as error:
            raise NotServed(f"{error}") from error
        except NotConnected as error:
            raise Unreachable(f"{error}") from error
        except (FetchError, Refused) as error:
            raise ServerFailed(f"{error}") from error
        body = self._body
        if {value.lower() for value in body.header_values("Content-Encoding")} - {"", "identity"}:
            raise ServerFailed(f"{self._url}: it encodes the file, unasked")
        types = {
            value.partition(";")[0].strip().lower() for value in body.header_values("Content-Type")
        }
        for page in types & {"text/html", "application/xhtml+xml"}:
            raise ServerFailed(f"{self._url}: it answers with a page ({page}) in place of the file")
        # elfutils' own header counts where http declares no length
        sizes = body.header_values("X-DEBUGINFOD-SIZE")
        if body.version.size_bytes is not None:
            sizes.add(str(body.version.size_bytes))
        if len(sizes) > 1 or not all(re.fullmatch(r"[0-9]{1,18}", size) for size in sizes):
            raise ServerFailed(f"{self._url}: it declares no usable length")
        self._version = replace(body.version, size_bytes=int(sizes.pop()) if sizes else None)
        self._require_size(self._version.size_bytes or 0)

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes, over as many connections as it takes.

        :raises StartOver: what came is of no use; the next call begins anew
        :raises ServerFailed: it is no ELF file, too big, or breaks off again and again
        """
        self._offset, self._tail = 0, b""
        head = known = b""
        while True:
            try:
                piece = self._body.read()
                if not piece and self._offset < (self.size_bytes or 0):
                    sizes = f"{human_size(self._offset)} of {human_size(self.size_bytes or 0)}"
                    raise Broken(f"{self._url}: the connection ended after {sizes}")
            except Broken as error:
                known = self._ask_for_rest(error)
                continue
            except FetchError as error:
                raise ServerFailed(f"{error}") from error
            if not piece:
                return
            again, known = known[: len(piece)], known[len(piece) :]
            if not piece.startswith(again):
                raise Useless(f"{self._url}: after a break it went on with another file")
            piece = piece[len(again) :]
            self._tail = (self._tail + piece)[-OVERLAP_BYTES:]
            self._offset += len(piece)
            self._require_size(self._offset)
            if len(head) < len(_ELF):
                head = (head + piece)[: len(_ELF)]
                if not _ELF.startswith(head):
                    raise Useless(f"{self._url}: what it sends is no ELF file")
            yield piece

    def _ask_for_rest(self, problem: Broken) -> bytes:
        """Connect again, and ask for what is missing of the file.

        :return: what came before, and comes once more
        """
        if self._connections >= CONNECTIONS or not self._offset:
            raise ServerFailed(f"{problem}") from problem
        try:
            self.ask_server(Had(self._offset - len(self._tail), self._version))
        except Changed as error:
            told = f"{problem}, and then it had another file of that name"
            raise Useless(told) from error
        except Broken as error:
            raise ServerFailed(f"{problem}, and then {error}") from error
        if not self._body.offset:
            raise StartOver(f"{problem}")
        return self._tail

    def _require_size(self, size_bytes: int) -> None:
        """Refuse what is larger than it may be, or was said to be."""
        if size_bytes > self._rules.file_bytes:
            limit = human_size(self._rules.file_bytes)
            told = f"the file is larger than `debuginfodLimit` ({limit}) allows"
            raise ServerFailed(f"{self._url}: {told}")
        if self.size_bytes is not None and size_bytes > self.size_bytes:
            told = f"it sends more than the {self.size_bytes} bytes that it declared"
            raise ServerFailed(f"{self._url}: {told}")


@contextmanager
def debug_file(server: str, build_id: str, rules: DebuginfodRules) -> Iterator[Transfer]:
    """A file that a server was asked for by build-id.

    The texts of errors name the server by its host alone.

    :param server: its URL, as the configuration has it
    :raises NotServed: the server has no such file
    :raises Unreachable: it cannot be connected to, or is silent
    :raises ServerFailed: it says anything else but what can be used
    """
    try:
        url = parse_url(f"{server.rstrip('/')}/buildid/{build_id}/debuginfo")
    except UsageError as error:
        raise ServerFailed(f"{server_name(server)}: {error}") from error
    with ExitStack() as stack:
        transfer = Transfer(replace(url, told_as=server_name(server)), rules, stack)
        try:
            transfer.ask_server(Had())
        except InTrouble as error:
            raise ServerFailed(f"{error}") from error
        except Broken as error:
            raise Unreachable(f"{error}") from error
        yield transfer


def server_name(url: str) -> str:
    """The part of a URL that may be shown: who it is."""
    return short_line(re.split("[/?#]", url.partition("://")[2])[0], _HOST_CHARACTERS)
