"""STARTTLS: the few plain lines before the handshake, per protocol (spec 07 VER-04)."""

from __future__ import annotations

import socket

from certctl_core.contracts.targets import Protocol
from certctl_core.deploy.errors import ConnectFailed

_MAX_LINE = 4096
_MAX_LINES = 100
_LDAP_REQUEST = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
"""RFC 4511 §4.14.1: an extended request with the StartTLS name, message id 1."""
_POSTGRES_REQUEST = bytes.fromhex("0000000804d2162f")
_LDAP_HEAD = 2
_LONG_FORM = 0x80


def start_tls(connection: socket.socket, protocol: Protocol) -> None:
    """Bring a fresh connection to the point where the TLS handshake begins.

    Nothing is read beyond the answer: what follows belongs to TLS.

    Args:
        connection: Connected, with a time-out.
        protocol: What the server speaks.

    Raises:
        ConnectFailed: The server does not offer it, or says something else.
        OSError: The connection fails or the time-out passes.
    """
    match protocol:
        case Protocol.TLS:
            return
        case Protocol.SMTP:
            _smtp(connection)
        case Protocol.IMAP:
            _expect(_line(connection), b"* ", protocol)
            connection.sendall(b"a STARTTLS\r\n")
            _expect(_tagged(connection), b"a OK", protocol)
        case Protocol.POP3:
            _expect(_line(connection), b"+OK", protocol)
            connection.sendall(b"STLS\r\n")
            _expect(_line(connection), b"+OK", protocol)
        case Protocol.LDAP:
            _ldap(connection)
        case Protocol.POSTGRES:
            connection.sendall(_POSTGRES_REQUEST)
            _expect(_exactly(connection, 1), b"S", protocol)


def _smtp(connection: socket.socket) -> None:
    _reply(connection, b"220")
    connection.sendall(b"EHLO localhost\r\n")
    _reply(connection, b"250")
    connection.sendall(b"STARTTLS\r\n")
    _reply(connection, b"220")


def _reply(connection: socket.socket, code: bytes) -> None:
    for _ in range(_MAX_LINES):
        line = _line(connection)
        _expect(line, code, Protocol.SMTP)
        if line[3:4] != b"-":
            return
    raise ConnectFailed(reason="the answer of the SMTP server does not end")


def _tagged(connection: socket.socket) -> bytes:
    for _ in range(_MAX_LINES):
        line = _line(connection)
        if not line.startswith(b"* "):
            return line
    raise ConnectFailed(reason="the answer of the IMAP server does not end")


def _ldap(connection: socket.socket) -> None:
    connection.sendall(_LDAP_REQUEST)
    tag, length = _exactly(connection, _LDAP_HEAD)
    if tag != 0x30:  # noqa: PLR2004 - SEQUENCE
        raise ConnectFailed(reason="the LDAP server does not answer with LDAP")
    if length & _LONG_FORM:
        length = int.from_bytes(_exactly(connection, min(length & 0x7F, 4)))
    body = _exactly(connection, min(length, _MAX_LINE))
    # messageID 1, then ExtendedResponse [APPLICATION 24] whose first element is resultCode.
    result = body.find(b"\x0a\x01")
    if body[:3] != b"\x02\x01\x01" or body[3:4] != b"\x78" or result < 0:
        raise ConnectFailed(reason="the LDAP server does not answer with an extended response")
    if body[result + 2 : result + 3] != b"\x00":
        raise ConnectFailed(reason="the LDAP server refuses StartTLS")


def _expect(line: bytes, head: bytes, protocol: Protocol) -> None:
    if not line.upper().startswith(head.upper()):
        raise ConnectFailed(reason=f"the server does not offer STARTTLS of {protocol.value}")


def _line(connection: socket.socket) -> bytes:
    # Byte by byte: a larger read could swallow the beginning of the handshake.
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE:
        line += _exactly(connection, 1)
    return line


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectFailed(reason="the server closed the connection")
        data += more
    return data
