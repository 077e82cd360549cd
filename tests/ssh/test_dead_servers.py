"""Servers that are gone, silent, slow or something else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ssh_servers import sshd

from cas.ssh import Destination, LoginOptions, Unreachable, logged_in

from installed import closed_port


def fails(home: Path, port: int, name: str = "127.0.0.1") -> str:
    with (
        pytest.raises(Unreachable) as caught,
        logged_in(Destination(name, port), LoginOptions(home, timeout_s=0.5)),
    ):
        pass
    assert (caught.value.exit_code, bool(caught.value.hint)) == (75, True)
    return str(caught.value)


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server for one connection."""

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_nobody_listens(tmp_path: Path) -> None:
    assert "Connection refused" in fails(tmp_path, closed_port())


@pytest.mark.parametrize("name", ["no-such-host.invalid", "..", "a" * 70])
def test_a_name_without_an_address(tmp_path: Path, name: str) -> None:
    said = fails(tmp_path, 22, name)
    assert "cannot be reached" in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"220 ftp here\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-\xff\xfe\x1b[2J\r\n\0\0\0",
        b"SSH-2.0-x\r\n" + b"\x00\x00\x00\x0c\x0a\x63" + bytes(10),
        b"line\r\n" * 300,
        bytes(100_000),
    ],
    ids=["nothing", "ftp", "http", "control characters", "nonsense", "lines", "zeros"],
)
def test_another_protocol(tmp_path: Path, greeting: bytes) -> None:
    with answering(lambda connection: connection.sendall(greeting)) as port:
        said = fails(tmp_path, port)
    assert "broke off, or does not answer as sshd does" in said
    assert said.isprintable()


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    with answering(lambda connection: connection.recv(100_000) and connection.recv(1)) as port:
        assert "does not answer" in fails(tmp_path, port)


def test_a_server_that_says_nothing_after_its_name(tmp_path: Path) -> None:
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-x\r\n")
        while connection.recv(10_000):
            pass

    with answering(greet) as port:
        assert "does not answer" in fails(tmp_path, port)


def test_a_server_that_is_halted(tmp_path: Path) -> None:
    with sshd(tmp_path / "sshd", tmp_path / "home") as server:
        server.know()
        server.stop()
        assert "does not answer" in fails(server.home, server.port)
        server.cont()
        with logged_in(
            Destination("127.0.0.1", server.port), LoginOptions(server.home)
        ) as connection:
            assert connection.transport.is_active()
