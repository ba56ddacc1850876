"""PKCS#11 URIs (RFC 7512): which object of which token, and how to reach it.

A PIN is never part of one here: a reference is stored and shown, so ``pin-value`` is refused.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from typing_extensions import override

from certctl_core.pki.errors import MalformedPKCS11URI
from certctl_core.values import dataclass

SCHEME = "pkcs11:"
MAX_URI = 2048

_PATH_TEXTS = frozenset({"token", "manufacturer", "model", "serial", "object", "type"})
_QUERY = frozenset({"module-path", "pin-source"})
_ATTRIBUTE = re.compile(r"([a-z][a-z0-9-]*)=([A-Za-z0-9._~:\[\]@!$'()*+,=&/|?%-]*)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "-._~:[]@!$'()*+,="


@dataclass(frozen=True, slots=True, kw_only=True)
class PKCS11URI:
    """A parsed reference; an empty attribute matches everything.

    Attributes:
        token / manufacturer / model / serial: Which token.
        object: The label of the object (``CKA_LABEL``).
        id: Its ``CKA_ID``.
        module_path: The library that speaks to the token.
        pin_file: The file that holds the PIN.
    """

    token: str = ""
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    object: str = ""
    id: bytes = b""
    module_path: str = ""
    pin_file: str = ""

    @override
    def __str__(self) -> str:
        parts = [
            f"{name}={quote(value, safe=_SAFE)}"
            for name in ("token", "manufacturer", "model", "serial", "object")
            if (value := getattr(self, name))
        ]
        if self.id:
            # Every byte in its escaped form, as RFC 7512 §2.3 recommends for id.
            parts.append("id=" + "".join(f"%{byte:02x}" for byte in self.id))
        query = []
        if self.module_path:
            query.append("module-path=" + quote(self.module_path, safe=_SAFE + "/"))
        if self.pin_file:
            query.append("pin-source=file:" + quote(self.pin_file, safe=_SAFE + "/"))
        return SCHEME + ";".join(parts) + ("?" + "&".join(query) if query else "")


def is_pkcs11_uri(text: str) -> bool:
    """Whether a reference to a key is meant as a PKCS#11 URI."""
    return text.startswith(SCHEME)


def parse_pkcs11_uri(text: str) -> PKCS11URI:
    """Read a URI.

    Raises:
        MalformedPKCS11URI: It is malformed, names an attribute that is not known here, or holds a PIN.
    """
    if not text.startswith(SCHEME) or len(text) > MAX_URI:
        raise MalformedPKCS11URI(reason="it is no pkcs11: URI")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found: dict[str, bytes] = {}
    for name, value in _attributes(path, ";"):
        if name not in _PATH_TEXTS and name != "id":
            raise MalformedPKCS11URI(reason=f"the attribute {name} is not supported")
        _take(found, name, value)
    for name, value in _attributes(query, "&"):
        if name == "pin-value":
            raise MalformedPKCS11URI(
                reason="it holds a PIN, which does not belong into a reference; use pin-source=file:"
            )
        if name not in _QUERY:
            raise MalformedPKCS11URI(reason=f"the attribute {name} is not supported")
        _take(found, name, value)
    if found.pop("type", b"private") != b"private":
        raise MalformedPKCS11URI(reason="its type is not private")
    texts = {name: _text(name, found.get(name, b"")) for name in _PATH_TEXTS - {"type"}}
    return PKCS11URI(
        **texts,
        id=found.get("id", b""),
        module_path=_file("module-path", found.get("module-path", b"")),
        pin_file=_file(
            "pin-source",
            found.get("pin-source", b"").removeprefix(b"file:").removeprefix(b"//"),
        ),
    )


def _attributes(part: str, separator: str) -> list[tuple[str, bytes]]:
    found = []
    for attribute in part.split(separator) if part else ():
        match = _ATTRIBUTE.fullmatch(attribute)
        if match is None or _BAD_ESCAPE.search(attribute):
            # Not repeated: it may be a PIN.
            raise MalformedPKCS11URI(reason="one of its attributes is malformed")
        found.append((match[1], unquote_to_bytes(match[2])))
    return found


def _take(found: dict[str, bytes], name: str, value: bytes) -> None:
    if name in found:
        raise MalformedPKCS11URI(reason=f"the attribute {name} is there twice")
    found[name] = value


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        raise MalformedPKCS11URI(reason=f"the attribute {name} is no readable text")
    return text


def _file(name: str, value: bytes) -> str:
    path = _text(name, value)
    if path and not path.startswith("/"):
        raise MalformedPKCS11URI(reason=f"{name} is no absolute path")
    return path
