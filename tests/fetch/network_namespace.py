"""Public hosts, private ones and a lying name server, inside a network namespace of their own.

Run by test_network_policy.py in bubblewrap, with the arguments DIRECTORY, USER, ANSWERS and URLs.
USER is who asks for them: ``upload``, ``allowed upload`` (as `privateAddresses = Yes` has it) or
``debuginfod``, to which they are the servers of its configuration. ANSWERS are what the name server
says to one question after the other, the last one for ever, e.g. ``9.9.9.9;127.0.0.1``; addresses
with a comma between them come in one answer.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from cas.errors import CasError
from cas.fetch.debug_file import debug_file
from cas.fetch.fetch import fetch
from cas.fetch.source import FetchPolicy, PrivateNetworks
from cas.fetch.url import parse_url
from cas.progress import Silent
from cas.settings.rules import DebuginfodRules, IntakeLimits

BUILD_ID = "ab" * 20
HERE = ("9.9.9.9", "2620:fe::fe", "64:ff9b::909:909", "172.32.0.1", "10.0.0.1", "100.64.0.1")
HERE += ("169.254.169.254", "192.168.1.1", "198.18.0.1", "64:ff9b::a00:1", "64:ff9b:1::1")
HERE += ("2002:a00:1::1", "2001::1", "fec0::1", "fc00::1", "fd12::1", "2001:db8::1")
"""Addresses of this namespace besides those of loopback: each of them would answer."""
connections: list[str] = []
"""Which addresses were connected to."""
questions: list[str] = []
"""Who asked the name server for an IPv4 address."""


class Names(socketserver.BaseRequestHandler):
    """A name server for every name. Source: RFC 1035, 4.1."""

    answers: list[str]

    def handle(self) -> None:
        data, connection = self.request
        end = data.index(b"\0", 12) + 5
        is_ipv4 = data[end - 4 : end - 2] == b"\0\1"
        addresses = []
        if is_ipv4:
            addresses = self.answers[min(len(questions), len(self.answers) - 1)].split(",")
            questions.append(str(self.client_address))
        reply = data[:2] + struct.pack(">5H", 0x8180, 1, len(addresses), 0, 0) + data[12:end]
        for address in addresses:
            reply += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
        connection.sendto(reply, self.client_address)


class Pages(BaseHTTPRequestHandler):
    """``/to/URL`` redirects there; everything else is a file that says where it was asked for."""

    def do_GET(self) -> None:
        path = self.path.partition("/buildid/")[0]
        if path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", unquote(path.removeprefix("/to/")))
            self.end_headers()
        elif path.endswith(".sha256"):
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"\x7fELF" + connections[-1].encode())

    def log_message(self, *_: object) -> None:
        pass


class Everywhere(ThreadingHTTPServer):
    """A server at every address, of IPv4 too."""

    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, peer = super().get_request()
        connections.append(connection.getsockname()[0].removeprefix("::ffff:"))
        return connection, peer


def upload(url: str, directory: Path, networks: PrivateNetworks) -> bytes:
    limits = IntakeLimits(reserve_bytes=1)
    policy = FetchPolicy(networks, timeout_s=10, limits=limits, attempts=1)
    return fetch(parse_url(url), directory, policy, Silent()).read_bytes()


def debuginfod(url: str) -> bytes:
    with debug_file(url, BUILD_ID, DebuginfodRules(timeout_s=10)) as transfer:
        return b"".join(transfer.pieces())


def main(directory: str, user: str, answers: str, *urls: str) -> None:
    for address in HERE:
        length = 128 if ":" in address else 32
        argv = ["ip", "address", "add", f"{address}/{length}", "dev", "lo"]
        subprocess.run([*argv, *(["nodad"] if ":" in address else [])], check=True)
    Names.answers = answers.split(";")
    for server in (socketserver.UDPServer(("127.0.0.1", 53), Names), Everywhere(("::", 80), Pages)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    found = []
    for number, url in enumerate(urls):
        connections.clear()
        try:
            if user == "debuginfod":
                body = debuginfod(url)
            else:
                networks = {"upload": "REFUSED", "allowed upload": "ALLOWED"}[user]
                place = Path(directory) / f"job-{number}"
                body = upload(url, place, PrivateNetworks[networks])
            result = body.removeprefix(b"\x7fELF").decode()
        except CasError as error:
            result = f"{type(error).__name__}: {error}"
        found.append({"result": result, "reached": [*connections]})
    print(json.dumps({"found": found, "questions": len(questions)}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
