"""A public debuginfod that redirects inside, in a network namespace of its own.

Run by test_debuginfod_servers.py in bubblewrap.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cas.catalogue.extraction.debuginfod import Debuginfod
from cas.commands.console import Console
from cas.settings.rules import DebuginfodRules

PUBLIC, PRIVATE = "9.9.9.9", "127.0.0.1"


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        here = self.server.server_address[0]
        print("asked", here)
        self.send_response(302 if here == PUBLIC else 200)
        self.send_header("Location", f"http://{PRIVATE}/inside")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main(directory: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"], check=True)
    for host in (PUBLIC, PRIVATE):
        server = ThreadingHTTPServer((host, 80), Pages)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    asked = Debuginfod(DebuginfodRules((f"http://{PUBLIC}",)))
    asked.kmod("ext4", "ab" * 20, Path(directory) / "ext4.ko", Console(sys.stdout, {}))


if __name__ == "__main__":
    main(sys.argv[1])
