"""How the text of a setting becomes a value: strict, and with a sentence that says what is wanted.

Each reader takes what TOML or a program may give (text, or already the right type) and raises
``ValueError`` whose text completes "CERTCTL_X …". The text never repeats the input: the loader adds
it where the setting is no secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainSerializer
from typing_extensions import override

from certctl_core.kernel.secrets import Secret
from certctl_core.values import dataclass

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_UNITS = ("d", "h", "m", "s", "ms")
_DURATION = re.compile(
    r"(?:(?P<d>\d{1,6})d)?(?:(?P<h>\d{1,9})h)?(?:(?P<m>\d{1,9})m(?!s))?"
    r"(?:(?P<s>\d{1,9})s)?(?:(?P<ms>\d{1,9})ms)?"
)
_SIZE = re.compile(r"(\d{1,15})\s?(B|KiB|MiB)?")
_SIZE_FACTORS = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024 * 1024}
_SIGNER_KIND = re.compile(r"[a-z][a-z0-9_-]{1,31}")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_MAX_PORT = 65535
_MAX_DAYS = 36500
_KEY_REF = re.compile(r"[a-z][a-z0-9_-]{1,31}:\S+")


def read_bool(value: object) -> bool:
    """``true/false/1/0/yes/no/on/off`` in any case."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    message = "is not a yes-or-no value; write true or false"
    raise ValueError(message)


def read_int(value: object) -> int:
    """A whole number in decimal digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if not _INTEGER.fullmatch(text):
        message = "is not a whole number"
        raise ValueError(message)
    return int(text)


def read_days(value: object) -> int:
    """A whole number of days from 1 to 36500."""
    days = read_int(value)
    if not 1 <= days <= _MAX_DAYS:
        message = f"holds a number of days that is not between 1 and {_MAX_DAYS}"
        raise ValueError(message)
    return days


def read_duration(value: object) -> timedelta:
    """``250ms``, ``30s``, ``5m``, ``1h30m``, ``7d``: falling units, each once; never a bare number."""
    if isinstance(value, timedelta):
        return value
    text = value.strip() if isinstance(value, str) else ""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        message = "is not a duration; write it with a unit, as 250ms, 30s, 5m, 1h30m or 7d"
        raise ValueError(message)
    parts = {unit: int(digits) for unit, digits in match.groupdict(default="0").items()}
    return timedelta(
        days=parts["d"],
        hours=parts["h"],
        minutes=parts["m"],
        seconds=parts["s"],
        milliseconds=parts["ms"],
    )


def show_duration(value: timedelta) -> str:
    """The shortest text that ``read_duration`` turns back into the value, such as ``1h30m``."""
    rest = round(value.total_seconds() * 1000)
    text = ""
    for unit, size in zip(_UNITS, (86_400_000, 3_600_000, 60_000, 1000, 1), strict=True):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def read_size(value: object) -> int:
    """Bytes, or a number with ``KiB`` or ``MiB``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        message = "is not a size; write bytes, or a number with KiB or MiB"
        raise ValueError(message)
    return int(match[1]) * _SIZE_FACTORS[match[2]]


def show_size(value: int) -> str:
    """The text of a size in the largest unit that divides it."""
    for unit in ("MiB", "KiB"):
        if value and value % _SIZE_FACTORS[unit] == 0:
            return f"{value // _SIZE_FACTORS[unit]}{unit}"
    return str(value)


def split_list(value: object) -> tuple[object, ...]:
    """The items of a comma-separated text or of a TOML array: trimmed, empty ones dropped."""
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    if isinstance(value, list | tuple):
        return tuple(item.strip() if isinstance(item, str) else item for item in value)
    message = "is not a list; write the items with commas between them"
    raise ValueError(message)


def read_path(value: object) -> Path:
    """An absolute path: a relative one would depend on where the process was started."""
    path = value if isinstance(value, Path) else Path(str(value).strip())
    if not path.is_absolute():
        message = "is not an absolute path"
        raise ValueError(message)
    return path


def read_network(value: object) -> IPNetwork:
    """A CIDR block or a single address."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(str(value))
    except ValueError as error:
        message = "holds something that is no address and no CIDR block"
        if "host bits" in str(error):
            message = "holds a CIDR block whose address is not its first one"
        raise ValueError(message) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """Where to listen: ``host`` (name or address, without brackets) and ``port`` (1 to 65535)."""

    host: str
    port: int

    @override
    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_host_port(value: object) -> HostPort:
    """``host:port`` or ``[IPv6]:port``."""
    if isinstance(value, HostPort):
        return value
    host, colon, port = str(value).strip().rpartition(":")
    number = int(port) if _PORT.fullmatch(port) else 0
    if not colon or not 1 <= number <= _MAX_PORT:
        message = "is not host:port with a port from 1 to 65535"
        raise ValueError(message)
    return HostPort(host=read_host(host), port=number)


def read_host(value: object) -> str:
    """A host name or an address; brackets around IPv6 are dropped, names become lower case."""
    text = str(value).strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if bare == text and _HOST.fullmatch(text):
            return text.lower()
    message = "holds something that is no host name and no address"
    raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedDestination:
    """One exception from the outbound rules.

    Attributes:
        host: A host name in lower case, or None.
        network: A block of addresses, or None. Exactly one of ``host`` and ``network`` is set.
        port: The only port that is allowed, or None for all.
    """

    host: str | None = None
    network: IPNetwork | None = None
    port: int | None = None

    @override
    def __str__(self) -> str:
        where = self.host
        if self.network is not None:
            single = self.network.num_addresses == 1
            where = str(self.network.network_address) if single else str(self.network)
            if self.port is not None and self.network.version == 6:  # noqa: PLR2004 - the IP version
                where = f"[{where}]"
        return f"{where}" if self.port is None else f"{where}:{self.port}"


def read_destination(value: object) -> AllowedDestination:
    """A CIDR block, an address, a host name, or one of the latter two with ``:port``."""
    if isinstance(value, AllowedDestination):
        return value
    text = str(value).strip()
    try:
        return AllowedDestination(network=ipaddress.ip_network(text.strip("[]")))
    except ValueError as error:
        if "host bits" in str(error):
            return AllowedDestination(network=read_network(text))
    port: int | None = None
    host = text
    if ":" in text:
        parsed = read_host_port(text)
        host, port = parsed.host, parsed.port
    host = read_host(host)
    try:
        return AllowedDestination(network=ipaddress.ip_network(host), port=port)
    except ValueError:
        return AllowedDestination(host=host.rstrip("."), port=port)


def _read_url(value: object, *schemes: str) -> str:
    text = str(value).strip()
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(text)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        message = f"is not a URL; write it as {wanted}host"
        raise ValueError(message) from None
    if parts.scheme not in schemes or not parts.hostname or not port_is_good:
        message = f"is not a URL that begins with {wanted} and has a host"
        raise ValueError(message)
    return text


def read_base_url(value: object, *schemes: str) -> str:
    """A base for URLs of ours: no user, query or fragment; the trailing slash is dropped."""
    text = _read_url(value, *schemes)
    parts = urlsplit(text)
    if parts.username is not None or parts.query or parts.fragment or "?" in text or "#" in text:
        message = "has a user, a query or a fragment, which a base URL cannot have"
        raise ValueError(message)
    return text.rstrip("/")


def read_origin(value: object) -> str:
    """A web origin, ``scheme://host[:port]`` in lower case, or ``*``."""
    text = str(value).strip().lower()
    if text == "*":
        return text
    base = read_base_url(text, "https", "http")
    if urlsplit(base).path:
        message = "holds an origin with a path; an origin is scheme://host[:port]"
        raise ValueError(message)
    return base


def read_proxy(value: object) -> Secret:
    """The URL of an HTTP proxy; secret because it may hold a password."""
    text = value.reveal() if isinstance(value, Secret) else value
    return Secret(_read_url(text, "http", "https"))


def read_database_url(value: object) -> Secret:
    """``sqlite:////absolute/path`` or ``postgresql://…`` (``postgres://`` and a driver are taken)."""
    text = (value.reveal() if isinstance(value, Secret) else str(value)).strip()
    scheme, found, rest = text.partition("://")
    if not found or scheme not in {"sqlite", "postgres", "postgresql", "postgresql+psycopg"}:
        message = "is not a database URL; write sqlite:////path or postgresql://user@host/name"
        raise ValueError(message)
    if scheme == "sqlite" and (not rest.startswith("//") or rest == "//"):
        message = "needs four slashes: sqlite:////absolute/path/certctl.db"
        raise ValueError(message)
    try:
        port_is_good = scheme == "sqlite" or urlsplit(text).port != 0
    except ValueError:
        port_is_good = False
    if not port_is_good:
        message = "has a host or port that is not valid"
        raise ValueError(message)
    return Secret(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CAPair:
    """A CA certificate file, and where its key is: a path, or a signer's reference."""

    cert_path: Path
    key_ref: str

    @override
    def __str__(self) -> str:
        return f"{self.cert_path}:{self.key_ref}"


def read_ca_pair(value: object) -> CAPair:
    """``/path/of/ca.crt:/path/of/ca.key``, or ``/path/of/ca.crt:pkcs11:token=…``."""
    if isinstance(value, CAPair):
        return value
    cert, _, key = str(value).strip().partition(":")
    if not cert.startswith("/") or not (key.startswith("/") or _KEY_REF.fullmatch(key)):
        message = "is not a list of cert:key; write /path/of/ca.crt:/path/of/ca.key"
        raise ValueError(message)
    return CAPair(cert_path=Path(cert), key_ref=key)


def read_key_place(value: object) -> str:
    """The path of a key file, or the ``pkcs11:`` URI of a key in a token."""
    text = str(value).strip()
    if not text.startswith(("/", "pkcs11:")):
        message = "is neither an absolute path nor a pkcs11: URI"
        raise ValueError(message)
    return text


def read_signer_kind(value: object) -> str:
    """The kind of a signer plugin."""
    text = str(value).strip().lower()
    if not _SIGNER_KIND.fullmatch(text):
        message = "is not the kind of a signer; write file or pkcs11"
        raise ValueError(message)
    return text


_E = TypeVar("_E", bound=StrEnum)


def choice(kind: type[_E], **aliases: str) -> BeforeValidator:
    """A reader of one of an enum's values, in any case; ``aliases`` are accepted for a value."""
    known = {item.value.lower(): item for item in kind}
    known.update({alias: kind(value) for alias, value in aliases.items()})

    def read(value: object) -> _E:
        found = known.get(str(value).strip().lower())
        if found is None:
            message = f"is not one of {', '.join(item.value for item in kind)}"
            raise ValueError(message)
        return found

    return BeforeValidator(read)


def _items(read: Callable[[object], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: tuple(read(item) for item in split_list(value)))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    message = "is not text"
    raise ValueError(message)


Text = Annotated[str, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(read_bool)]
Integer = Annotated[int, BeforeValidator(read_int)]
Duration = Annotated[
    timedelta, BeforeValidator(read_duration), PlainSerializer(show_duration, return_type=str)
]
Size = Annotated[int, BeforeValidator(read_size)]
Host = Annotated[str, BeforeValidator(read_host)]
KeyPlace = Annotated[str, BeforeValidator(read_key_place)]
SignerKind = Annotated[str, BeforeValidator(read_signer_kind)]
AbsolutePath = Annotated[Path, BeforeValidator(read_path)]
Listen = Annotated[HostPort, BeforeValidator(read_host_port)]
HTTPSBase = Annotated[str, BeforeValidator(lambda value: read_base_url(value, "https"))]
WebBase = Annotated[str, BeforeValidator(lambda value: read_base_url(value, "http", "https"))]
ProxyURL = Annotated[Secret, BeforeValidator(read_proxy)]
DatabaseURL = Annotated[Secret, BeforeValidator(read_database_url)]
Texts = Annotated[tuple[str, ...], _items(_text)]
Hosts = Annotated[tuple[str, ...], _items(read_host)]
Networks = Annotated[tuple[IPNetwork, ...], _items(read_network)]
Origins = Annotated[tuple[str, ...], _items(read_origin)]
Days = Annotated[tuple[int, ...], _items(read_days)]
CAPairs = Annotated[tuple[CAPair, ...], _items(read_ca_pair)]
Destinations = Annotated[tuple[AllowedDestination, ...], _items(read_destination)]
