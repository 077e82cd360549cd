"""A connection to a server that can be cut, slowed down or counted."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time


class Relay:
    """A way to a server; ``reach`` of cas.ssh.logged_in."""

    def __init__(self, cut_after: int | None = None, bytes_s: float | None = None) -> None:
        self.sent_bytes = 0
        self._cut_after = cut_after
        self._bytes_s = bytes_s

    def __call__(self, host: str, port: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        server = socket.create_connection((host, port))
        if self._bytes_s:
            theirs = self._slow(theirs)
        for ends in ((theirs, server), (server, theirs)):
            threading.Thread(target=self._pass, args=(*ends, theirs), daemon=True).start()
        return ours

    def _slow(self, fast: socket.socket) -> socket.socket:
        """A line that takes in whatever it is given, and brings it slowly."""
        ours, theirs = socket.socketpair()
        waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        def take_in() -> None:
            with contextlib.suppress(OSError):
                while data := fast.recv(16384):
                    waiting.put(data)
            waiting.put(b"")

        def bring() -> None:
            with contextlib.suppress(OSError):
                while data := waiting.get():
                    time.sleep(len(data) / (self._bytes_s or 1))
                    ours.sendall(data)
                ours.shutdown(socket.SHUT_WR)

        def bring_back() -> None:
            with contextlib.suppress(OSError):
                while data := ours.recv(16384):
                    fast.sendall(data)
                fast.shutdown(socket.SHUT_RDWR)

        for work in (take_in, bring, bring_back):
            threading.Thread(target=work, daemon=True).start()
        return theirs

    def _pass(self, one: socket.socket, other: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(16384):
                if one is client:
                    self.sent_bytes += len(data)
                    if self._cut_after is not None and self.sent_bytes > self._cut_after:
                        break
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
