"""The field types of plugin configurations (spec 06 CFG-2, 07 CMD-01, CMD-02).

Each is checked and brought into one form when the model is validated, dumps to plain JSON and
describes itself in JSON Schema. The text types are ``str`` subclasses, so a plugin uses them as text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from cryptography import x509
from pydantic import Field, PlainSerializer, WithJsonSchema
from pydantic.functional_validators import BeforeValidator
from pydantic_core import core_schema
from typing_extensions import override

from certctl_core.contracts.options.references import is_reference, parse_reference
from certctl_core.pki.errors import NameRejected
from certctl_core.pki.names import parse_dns, parse_email

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

MAX_URL = 2048
MAX_PEM = 262_144
"""Characters; a bundle of some hundred CA certificates fits."""
MAX_PATH = 4096


class Text(str):
    """Base of the checked text types: ``parse`` gives the one form or raises ``ValueError``."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {}

    @classmethod
    def parse(cls, text: str) -> str:
        """Check the text and return its one form.

        Raises:
            ValueError: It is not of this type; the message says why, without quoting it.
        """
        return text

    @classmethod
    def of(cls, text: str) -> Self:
        """Make a value from text, as validation does.

        Raises:
            ValueError: As ``parse``.
        """
        return cls(cls.parse(text))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls.of, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", **cls.schema}


class Url(Text):
    """Base of the URL types: no credentials, no fragment, a checked host."""

    __slots__ = ()

    schemes: ClassVar[tuple[str, ...]] = ("https",)

    @property
    def host(self) -> str:
        """The host, lower case, without brackets."""
        return urlsplit(self).hostname or ""

    @property
    def port(self) -> int:
        """The port, the scheme's own where none is given."""
        parts = urlsplit(self)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        if len(text) > MAX_URL:
            message = f"is longer than {MAX_URL} characters"
            raise ValueError(message)
        if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
            message = "holds a character that a URL may not hold; use the encoded form"
            raise ValueError(message)
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            message = "is not a URL"
            raise ValueError(message) from None
        if parts.scheme not in cls.schemes:
            message = f"must begin with {' or '.join(f'{name}://' for name in cls.schemes)}"
            raise ValueError(message)
        if "@" in parts.netloc:
            message = "must not hold a user name or password; there are own fields for them"
            raise ValueError(message)
        if parts.fragment or text.endswith("#"):
            message = "must not have a fragment (#)"
            raise ValueError(message)
        if not parts.hostname or port == 0:
            message = "has no usable host or port"
            raise ValueError(message)
        host = Host.parse(parts.hostname)
        netloc = f"[{host}]" if ":" in host else host
        if port is not None:
            netloc = f"{netloc}:{port}"
        return parts._replace(netloc=netloc).geturl()


class HttpsUrl(Url):
    """An ``https://`` URL."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"format": "uri", "pattern": "^https://"}


class HttpUrl(Url):
    """An ``https://`` or ``http://`` URL; the latter is shown with a warning (spec 06 NET-7)."""

    __slots__ = ()

    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    schema: ClassVar[dict[str, Any]] = {"format": "uri", "pattern": "^https?://"}


class Host(Text):
    """A DNS name in A-labels or an IP address, lower case, without port and brackets."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"maxLength": 253}

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        try:
            return str(ipaddress.ip_address(bare))
        except ValueError:
            return DnsName.parse(text)


class DnsName(Text):
    """A DNS name: lower case, A-labels, no wildcard, no trailing dot."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"maxLength": 253}

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        message = "is not a DNS name"
        name = text.removesuffix(".")
        if name.startswith("*") or re.fullmatch(r"[0-9.]+|0x[0-9a-fA-F]+", name):
            raise ValueError(message)
        try:
            return parse_dns(name)
        except NameRejected:
            raise ValueError(message) from None


class Email(Text):
    """An email address without display name; its domain in lower case and A-labels."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"format": "email", "maxLength": 254}

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        try:
            return parse_email(text)
        except NameRejected:
            message = "is not an email address"
            raise ValueError(message) from None


class PemBundle(Text):
    """One or more certificates in PEM, or a reference to them (``secretref:file:/abs/path``).

    A plugin always sees the certificates: references are resolved before it is built.
    """

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {
        "contentMediaType": "application/x-pem-file",
        "maxLength": MAX_PEM,
    }

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The certificates in the order of the text."""
        return tuple(x509.load_pem_x509_certificates(self.encode()))

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        if is_reference(text):
            parse_reference(text)
            return text
        if len(text) > MAX_PEM:
            message = f"is longer than {MAX_PEM} characters"
            raise ValueError(message)
        if "PRIVATE KEY" in text:
            message = "holds a private key; only certificates belong here"
            raise ValueError(message)
        try:
            x509.load_pem_x509_certificates(text.encode())
        except ValueError:
            message = "holds no readable certificate in PEM"
            raise ValueError(message) from None
        return text


class HookName(Text):
    """The name of an operator's hook script: a plain file name, never a path."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text) or ".." in text:
            message = "must be a plain file name of a-z 0-9 . _ -"
            raise ValueError(message)
        return text


class AbsPath(Text):
    """An absolute POSIX path of a file, without ``.`` and ``..`` segments."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"pattern": "^/", "maxLength": MAX_PATH}

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        if not text.startswith("/") or not text.isprintable() or len(text) > MAX_PATH:
            message = "must be an absolute path of printable characters"
            raise ValueError(message)
        segments = [segment for segment in text.split("/") if segment]
        if not segments or {".", ".."} & set(segments):
            message = "must name a file and hold no '.' or '..' segment"
            raise ValueError(message)
        return "/" + "/".join(segments)


class Owner(Text):
    """A user or group of the operating system, by name or number."""

    __slots__ = ()

    schema: ClassVar[dict[str, Any]] = {"maxLength": 32}

    @override
    @classmethod
    def parse(cls, text: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?|[0-9]{1,10}", text):
            message = "is neither a user or group name nor a number"
            raise ValueError(message)
        return text


class Command:
    r"""A command as an argument list; there is never a shell (spec 07 CMD-01, CMD-02).

    Args:
        command: The arguments, or a string that is split on white space and may hold none of
            ``; | & $ ` ( ) { } < > \ " '``.

    Raises:
        ValueError: A shell metacharacter or line break, over 1,024 characters, over 32 arguments,
            or nothing at all.
    """

    __slots__ = ("argv",)

    MAX_LENGTH: ClassVar[int] = 1024
    MAX_ARGUMENTS: ClassVar[int] = 32
    _REFUSED: ClassVar[frozenset[str]] = frozenset(";|&$`(){}<>\\\"'")
    _BREAKS: ClassVar[frozenset[str]] = frozenset("\r\n\0")

    argv: tuple[str, ...]

    def __init__(self, command: str | list[str] | tuple[str, ...]) -> None:
        if isinstance(command, str):
            if self._REFUSED & set(command):
                message = (
                    "holds a shell character; there is no shell, give a list of arguments instead"
                )
                raise ValueError(message)
            self._check_text(command)
            argv = tuple(command.split())
        else:
            argv = tuple(command)
            for argument in argv:
                self._check_text(argument)
        if not argv or not argv[0].strip():
            message = "is empty"
            raise ValueError(message)
        if len(argv) > self.MAX_ARGUMENTS:
            message = f"has more than {self.MAX_ARGUMENTS} arguments"
            raise ValueError(message)
        self.argv = argv

    @classmethod
    def _check_text(cls, text: str) -> None:
        if cls._BREAKS & set(text):
            message = "holds a line break or NUL"
            raise ValueError(message)
        if len(text) > cls.MAX_LENGTH:
            message = f"is longer than {cls.MAX_LENGTH} characters"
            raise ValueError(message)

    @override
    def __str__(self) -> str:
        return " ".join(self.argv)

    @override
    def __repr__(self) -> str:
        return f"Command({list(self.argv)!r})"

    @override
    def __eq__(self, other: object) -> bool:
        return self.argv == other.argv if isinstance(other, Command) else NotImplemented

    @override
    def __hash__(self) -> int:
        return hash(self.argv)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        text = core_schema.str_schema()
        given = core_schema.union_schema([text, core_schema.list_schema(text, strict=False)])
        make: Callable[[Any], Command] = cls
        return core_schema.no_info_wrap_validator_function(
            lambda value, handler: value if isinstance(value, cls) else make(handler(value)),
            given,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda command: list(command.argv), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "anyOf": [
                {"type": "string", "maxLength": cls.MAX_LENGTH},
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "maxItems": cls.MAX_ARGUMENTS,
                },
            ]
        }


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_DURATIONS = re.compile(r"(?:[0-9]{1,9}(?:ms|s|m|h|d)){1,5}")
MAX_DURATION = timedelta(days=3660)


def parse_duration(value: object) -> object:
    """Read ``30s``, ``5m``, ``24h``, ``7d``, ``500ms``, sums of them, or a number of seconds.

    Raises:
        ValueError: Neither of these, negative, or over ten years.
    """
    seconds = _seconds(value)
    if seconds is None or not 0 <= seconds <= MAX_DURATION.total_seconds():
        message = "must be a duration such as 30s, 5m, 24h or 7d"
        raise ValueError(message)
    return timedelta(seconds=seconds)


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _DURATIONS.fullmatch(value):
        return sum(int(count) * _UNITS[unit] for count, unit in _DURATION.findall(value))
    return None


def format_duration(value: timedelta) -> str:
    """Write a duration in the largest unit that holds it exactly: ``90s``, ``5m``, ``7d``."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": "^([0-9]{1,9}(ms|s|m|h|d))+$", "format": "certctl-duration"}
    ),
]
"""A ``timedelta``, written ``30s``, ``5m``, ``24h``, ``7d`` or as a number of seconds."""

Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP port."""


_ALL_BITS = 0o777


def _parse_mode(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    if type(value) is int and 0 <= value <= _ALL_BITS:
        return value
    message = 'must be an octal string such as "0640"'
    raise ValueError(message)


FileMode = Annotated[
    int,
    BeforeValidator(_parse_mode),
    PlainSerializer(lambda mode: f"{mode:04o}", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$", "examples": ["0640"]}),
]
"""Permission bits of a file, written as an octal string (``"0640"``)."""

_Key = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]

KeyValue = Annotated[dict[_Key, Annotated[str, Field(max_length=4096)]], Field(max_length=100)]
"""Up to 100 short texts by name."""
