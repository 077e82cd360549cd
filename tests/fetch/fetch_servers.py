"""Servers on loopback for the tests of fetching: well-behaved, broken and hostile ones."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cas.fetch.fetch import FetchPolicy
from cas.fetch.source import PrivateNetworks

from installed import needs


@dataclass
class Served:
    """A file on an http server, and how its server misbehaves."""

    body: bytes
    etag: str | None = '"v1"'
    breaks: list[int] = field(default_factory=list)
    """Of each request in turn: after how many bytes the connection is cut."""
    statuses: list[int] = field(default_factory=list)
    """Of each request in turn, before the file is given."""
    retry_after: str | None = None
    """What it says with them."""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    """A Content-Length that is a lie."""
    has_ranges: bool = True
    has_length: bool = True

    def give(self, request: Request) -> None:
        if self.statuses:
            said = {"Retry-After": self.retry_after} if self.retry_after else {}
            request.send(self.statuses.pop(0), {"Content-Length": "0", **said})
            return
        begin = self.begin(request)
        if begin >= len(self.body) > 0:
            total = {"Content-Range": f"bytes */{len(self.body)}", "Content-Length": "0"}
            request.send(416, total)
            return
        request.send(206 if begin else 200, self.described(begin))
        end = begin + self.breaks.pop(0) if self.breaks else None
        request.wfile.write(self.body[begin:end])

    def begin(self, request: Request) -> int:
        asked = request.headers.get("Range", "")
        if not self.has_ranges or not asked or request.headers.get("If-Range") != self.etag:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def described(self, begin: int) -> dict[str, str]:
        size = len(self.body)
        headers = dict(self.headers)
        if self.has_length:
            headers["Content-Length"] = str(self.declared or size - begin)
        if self.etag:
            headers["ETag"] = self.etag
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{size - 1}/{size}"
        return headers


Fault = Callable[["Request", "Parts"], None]
"""What a server does in place of giving a part."""


@dataclass
class Parts:
    """A large file on an http server that gives parts of it, and how the server misbehaves."""

    path: Path
    etag: str = '"v1"'
    delay_s: float = 0.0
    """Before each answer."""
    faults: dict[int, Fault] = field(default_factory=dict)
    """By the number of the request, from 1 on."""
    lasting: Fault | None = None
    """Instead of every answer behind those that have a fault of their own."""
    ranges: list[str | None] = field(default_factory=list)
    """What was asked for."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """What a fault may wait for."""
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def give(self, request: Request) -> None:
        asked = request.headers.get("Range")
        with self._counting:
            self.ranges.append(asked)
            number = len(self.ranges)
        time.sleep(self.delay_s)
        fault = self.faults.get(number)
        if fault is None and self.faults and number > max(self.faults):
            fault = self.lasting
        if fault is not None:
            fault(request, self)
        else:
            self.send_part(request)

    def send_part(self, request: Request, *, cut: int = 0, sent: int | None = None) -> None:
        """Give what was asked for.

        :param cut: give so many bytes fewer, and say so
        :param sent: break off after so many bytes
        """
        size = self.path.stat().st_size
        begin, end, status = 0, size, 200
        asked = request.headers.get("Range")
        if asked and request.headers.get("If-Range") in (None, self.etag):
            first, last = asked.removeprefix("bytes=").split("-")
            begin, status = int(first), 206
            end = min(int(last or size - 1) + 1, size) - cut
        headers = {"Content-Length": str(end - begin), "ETag": self.etag}
        if status == 206:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        request.send(status, headers)
        request.close_connection = sent is not None
        with self.path.open("rb") as file:
            file.seek(begin)
            left = end - begin if sent is None else sent
            while left > 0 and (data := file.read(min(left, 1 << 20))):
                request.wfile.write(data)
                left -= len(data)


class Request(BaseHTTPRequestHandler):
    """One request to a :class:`Web`."""

    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def do_GET(self) -> None:
        web = self.server.web
        web.requests.append((self.path, dict(self.headers)))
        given = web.files.get(self.path.partition("?")[0])
        self.close_connection = not isinstance(given, Parts)
        with contextlib.suppress(OSError):
            if given is None:
                self.send(404, {"Content-Length": "0"})
            elif isinstance(given, Served | Parts):
                given.give(self)
            else:
                given(self)

    def send(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _HttpServer(ThreadingHTTPServer):
    web: Web

    def handle_error(self, *_: object) -> None:
        pass  # the client may leave whenever it wants


@dataclass
class Web:
    """An http server: its files by path, and the requests that came."""

    address: str
    files: dict[str, Served | Parts | Callable[[Request], None]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"{self.address}{path}"

    def asked(self, path: str, header: str) -> list[str | None]:
        """What the requests for a path said in a header."""
        return [headers.get(header) for at, headers in self.requests if at == path]


@contextlib.contextmanager
def web(certificate: Path | None = None) -> Iterator[Web]:
    """An http server; https with a file that holds key and certificate."""
    server = _HttpServer(("127.0.0.1", 0), Request)
    scheme, host = "http", "127.0.0.1"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme, host = "https", "localhost"
    server.web = Web(f"{scheme}://{host}:{server.server_port}")
    with _running(server):
        yield server.web


@contextlib.contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def certificate(directory: Path) -> Path:
    """Key and certificate of ``localhost`` in one file, signed by itself."""
    key, made = directory / "key.pem", directory / "made.pem"
    names = "subjectAltName=DNS:localhost"
    argv = [needs("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=test"]
    argv += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", names]
    subprocess.run([*argv, "-keyout", key, "-out", made], check=True, capture_output=True)
    both = directory / "server.pem"
    both.write_bytes(key.read_bytes() + made.read_bytes())
    return both


def dripping(data: bytes, pause_s: float) -> Callable[[Request], None]:
    """An answer that comes byte by byte."""

    def give(request: Request) -> None:
        request.send(200, {"Content-Length": str(len(data)), "ETag": '"drip"'})
        for byte in data:
            request.wfile.write(bytes([byte]))
            time.sleep(pause_s)

    return give


def redirect(location: str, status: int = 302) -> Callable[[Request], None]:
    """An answer that sends the client somewhere else."""
    return lambda request: request.send(status, {"Location": location, "Content-Length": "0"})


@dataclass
class FtpSite:
    """An ftp server, and how it misbehaves."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    password: str | None = None
    breaks: list[int] = field(default_factory=list)
    """Of each RETR in turn: after how many bytes both connections are cut."""
    declared: int | None = None
    """A SIZE that is a lie."""
    refused: tuple[str, ...] = ()
    """Commands that this server does not know."""
    pasv_host: str = "127,0,0,1"
    greeting: bytes = b"220 here\r\n"
    commands: list[str] = field(default_factory=list)


class _FtpSession(socketserver.StreamRequestHandler):
    """The dialogue of RFC 959 as far as downloads need it."""

    server: _FtpServer

    def handle(self) -> None:
        self.site, self.offset, self.user = self.server.site, 0, ""
        self.wfile.write(self.site.greeting)
        with contextlib.suppress(OSError):
            while line := self.rfile.readline().decode().strip():
                self.site.commands.append(line)
                command, _, word = line.partition(" ")
                self.obey(command, word)

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def obey(self, command: str, word: str) -> None:
        answer = getattr(self, f"on_{command.lower()}", None)
        if answer is None or command in self.site.refused:
            self.say(f"502 {command} is not known")
        elif command in ("SIZE", "MDTM", "RETR") and word not in self.site.files:
            self.say("550 no such file")
        else:
            answer(word)

    def on_user(self, word: str) -> None:
        self.user = word
        self.say("331 and the password?")

    def on_pass(self, word: str) -> None:
        good = self.site.password in (None, word)
        self.say("230 come in" if good else f"530 {word} is not the password of {self.user}")

    def on_type(self, _: str) -> None:
        self.say("200 so be it")

    def on_size(self, word: str) -> None:
        self.say(f"213 {self.site.declared or len(self.site.files[word])}")

    def on_mdtm(self, _: str) -> None:
        self.say("213 20251121084129")

    def on_pasv(self, _: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        self.say(f"227 here ({self.site.pasv_host},{port >> 8},{port & 255})")

    def on_rest(self, word: str) -> None:
        self.offset = int(word)
        self.say("350 and now?")

    def on_retr(self, word: str) -> None:
        self.say("150 here it comes")
        data, _ = self.listener.accept()
        end = self.offset + self.site.breaks.pop(0) if self.site.breaks else None
        with data, self.listener:
            data.sendall(self.site.files[word][self.offset : end])
        if end is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.offset = 0
        self.say("226 that was it")


class _FtpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    site: FtpSite

    def handle_error(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def ftp(site: FtpSite) -> Iterator[FtpSite]:
    """A running ftp server."""
    server = _FtpServer(("127.0.0.1", 0), _FtpSession)
    server.site, site.port = site, server.server_address[1]
    with _running(server):
        yield site


def patient_policy(home: Path, **changes: object) -> FetchPolicy:
    """A policy for servers on loopback, in a hurry."""
    values = {
        "private_networks": PrivateNetworks.ALLOWED,
        "timeout_s": 5.0,
        "attempts": 3,
        "pause_s": 0.01,
        "home": home,
        **changes,
    }
    return FetchPolicy(**values)  # type: ignore[arg-type]
