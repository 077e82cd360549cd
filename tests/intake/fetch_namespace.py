"""A public host, a private one and a lying name server, inside a network namespace of their own.

Run by test_fetch_rebinding.py in bubblewrap, with the arguments DIRECTORY, ANSWERS and URL.
ANSWERS are what the name server says to one question after the other, the last one for ever, e.g.
``9.9.9.9;127.0.0.1``; addresses with a comma between them come in one answer.
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

from cas.errors import CasError
from cas.fetch.fetch import FetchPolicy, fetch
from cas.fetch.url import parse
from cas.progress import Silent
from cas.settings.rules import IntakeLimits

PUBLIC = "9.9.9.9"
asked: list[str] = []
"""What was requested, with the address it was requested from."""
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
    def do_GET(self) -> None:
        here = self.server.server_address[0]
        asked.append(f"{here}{self.path}")
        if self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1/vmcore")
            self.end_headers()
        elif self.path == "/vmcore":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(str(here).encode())
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def main(directory: str, answers: str, url: str) -> None:
    subprocess.run(["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"], check=True)
    Names.answers = answers.split(";")
    servers = [socketserver.UDPServer(("127.0.0.1", 53), Names)]
    servers += [ThreadingHTTPServer((host, 80), Pages) for host in (PUBLIC, "127.0.0.1")]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    policy = FetchPolicy(limits=IntakeLimits(reserve_bytes=1), attempts=1, timeout_s=10)
    try:
        result = fetch(parse(url), Path(directory) / "job", policy, Silent()).read_text()
    except CasError as error:
        result = f"{type(error).__name__}: {error}"
    print(json.dumps({"result": result, "asked": asked, "questions": len(questions)}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
