"""Keys that an ssh-agent keeps: it signs with them, and never gives them away.

paramiko has an agent, too; it waits for ever, and cannot log in with a certificate.

Source: draft-ietf-sshm-ssh-agent, 4.3 and 4.6.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
from paramiko.message import Message
from paramiko.pkey import PublicBlob

from cas.text import one_line

ANSWER_BYTES = 256 << 10
"""The longest answer that is read; as in OpenSSH (authfd.c, MAX_AGENT_REPLY_LEN)."""
KEYS = 100
REQUEST_IDENTITIES, IDENTITIES = 11, 12
SIGN_REQUEST, SIGNATURE = 13, 14
RSA_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}
CERTIFICATE = "-cert-v01@openssh.com"


class AgentLost(Exception):
    """The agent does not answer, or not as an agent does."""


class Agent:
    """A connection to an agent."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """:raises AgentLost: nobody answers"""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except (OSError, ValueError):
            self._socket.close()
            raise AgentLost from None

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def keys(self) -> Iterator[AgentKey]:
        """Those that it keeps.

        :raises AgentLost: it does not answer, or not as an agent does
        """
        answer = self.ask_agent(Message(bytes([REQUEST_IDENTITIES])), IDENTITIES)
        for _ in range(min(answer.get_int(), KEYS)):
            blob, comment = answer.get_binary(), answer.get_binary()
            if len(blob) < 8:
                raise AgentLost
            yield AgentKey(self, blob, one_line(comment[:100]))

    def ask_agent(self, request: Message, expected: int) -> Message:
        """A request's answer, behind the byte that says of which kind it is.

        :raises AgentLost: there is none
        """
        data = request.asbytes()
        try:
            self._socket.sendall(len(data).to_bytes(4, "big") + data)
            size = int.from_bytes(self._receive_exactly(4), "big")
            if not 0 < size <= ANSWER_BYTES:
                raise AgentLost
            answer = Message(self._receive_exactly(size))
        except OSError:
            raise AgentLost from None
        if answer.get_byte() != bytes([expected]):
            raise AgentLost
        return answer

    def _receive_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise AgentLost
            data += more
        return data


class AgentKey(paramiko.PKey):
    """A key, or a key with its certificate, that an agent signs with."""

    def __init__(self, agent: Agent, blob: bytes, comment: str) -> None:
        """:param blob: the public key, or the certificate"""
        self._agent = agent
        self._blob = blob
        self.comment = comment
        self.name = Message(blob).get_binary().decode("ascii", "replace")
        self.public_blob: Any = PublicBlob(self.name, blob)

    def get_name(self) -> str:
        """Its type, e.g. ``ssh-ed25519``."""
        return self.name

    def asbytes(self) -> bytes:
        """The public key."""
        return self._blob

    @property
    def _fields(self) -> tuple[str, bytes]:
        return self.name, self._blob

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Message:
        """A signature; an empty one, which no server accepts, when the agent gives none.

        An error here would end the connection, and with it the turn of the other keys.
        """
        request = Message()
        request.add_byte(bytes([SIGN_REQUEST]))
        request.add_string(self._blob)
        request.add_string(data)
        request.add_int(RSA_FLAGS.get((algorithm or "").removesuffix(CERTIFICATE), 0))
        try:
            return Message(self._agent.ask_agent(request, SIGNATURE).get_binary())
        except AgentLost:
            return Message()
