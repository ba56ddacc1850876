"""SubjectAltName values: syntax, internationalised labels, safety and order.

Everything that is to be issued passes ``parse_general_name`` or ``check_common_name``; what is
read from existing certificates is taken as it stands (``from_x509``).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

import idna
from cryptography import x509

from certctl_core.pki.errors import MalformedName, NameRejected, UnsafeName, UnsupportedName
from certctl_core.values import dataclass


class NameType(StrEnum):
    """The GeneralName choices that are issued."""

    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralName:
    """One SubjectAltName value.

    Attributes:
        type: Which choice of GeneralName.
        value: DNS: lower case, A-labels, no trailing dot. IP: the compressed textual form.
            Email: the domain in lower case and A-labels. URI: scheme and host in lower case.
    """

    type: NameType
    value: str


MAX_DNS = 253
MAX_LABEL = 63
MAX_EMAIL = 254
MAX_URI = 2048
MAX_COMMON_NAME = 64
"""``ub-common-name`` (RFC 5280 appendix A.1), in characters."""

_ORDER = {kind: place for place, kind in enumerate(NameType)}
# Cc, Cf and the separators hold every control, bidi control and zero-width character of CERT-7;
# Cs are lone surrogates, which no encoding can carry.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LOOK_ALIKE = frozenset({"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK"})
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):"
    r"(?://(?:(?P<user>[^@/?#]*)@)?(?P<host>\[[^\]/?#]*\]|[^:/?#]*)(?P<port>:[0-9]{0,5})?)?"
    r"(?P<rest>[A-Za-z0-9._~!$&'()*+,;=:@/?#%-]*)",
    re.ASCII,
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LOOKS_LIKE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|urn:", re.ASCII | re.IGNORECASE)


def parse_general_name(text: str) -> GeneralName:
    """Read a name of any of the four types; the type is recognised by its form.

    An address is an IP name, something with a scheme a URI, something with ``@`` an email
    address, the rest a DNS name (``localhost`` included).

    Raises:
        UnsafeName: Controls, bidi controls, zero-width characters, or a label that mixes ASCII
            letters or digits with others (CERT-7).
        MalformedName: The syntax of the recognised type is broken.
    """
    if (":" in text or text[-1:].isdigit()) and text.isascii() and text.isprintable():
        try:
            return _parse_ip(text)
        except ValueError:
            pass
    if _LOOKS_LIKE_URI.match(text):
        return GeneralName(type=NameType.URI, value=parse_uri(text))
    if "@" in text:
        return GeneralName(type=NameType.EMAIL, value=parse_email(text))
    return GeneralName(type=NameType.DNS, value=parse_dns(text))


def _parse_ip(text: str) -> GeneralName:
    if "%" in text:
        # A zone index means something on one host only.
        raise ValueError
    return GeneralName(type=NameType.IP, value=str(ipaddress.ip_address(text)))


@lru_cache(maxsize=4096)
def parse_dns(text: str) -> str:
    """Read a DNS name, possibly a wildcard.

    Returns:
        Lower case, every label LDH or an A-label, at most 253 characters.

    Raises:
        UnsafeName: See ``parse_general_name``.
        MalformedName: Not a host name in the preferred syntax (RFC 1034 §3.5), a ``*`` anywhere
            but as the whole left-most label, or a label that IDNA 2008 refuses.
    """
    _check_characters(text)
    if len(text) > MAX_DNS:
        raise MalformedName(name=_shown(text), reason="it is longer than 253 characters")
    labels = text.split(".")
    wildcard = labels[0] == "*" and len(labels) > 1
    if wildcard:
        del labels[0]
    labels = [_parse_label(label, text) for label in labels]
    if labels[-1].isdigit():
        # "1.2.3.999" is a broken address, not a name (RFC 3696 §2).
        raise MalformedName(name=_shown(text), reason="its last label is a number")
    result = ".".join(("*", *labels) if wildcard else labels)
    if len(result) > MAX_DNS:
        raise MalformedName(name=_shown(text), reason="it is longer than 253 characters")
    return result


def _parse_label(label: str, whole: str) -> str:
    if label.isascii():
        label = label.lower()
        if not label or len(label) > MAX_LABEL or _LABEL.fullmatch(label) is None:
            reason = "it is not made of letters, digits and inner hyphens"
            if "*" in label:
                reason = "a wildcard must be the whole left-most label"
            raise MalformedName(name=_shown(whole), reason=reason)
        if label.startswith("xn--"):
            _check_a_label(label, whole)
        elif label[2:4] == "--":
            # RFC 5890 §2.3.1: such labels are reserved.
            raise MalformedName(name=_shown(whole), reason="a label has '--' in third place")
        return label
    _check_mix(label, whole)
    label = unicodedata.normalize("NFC", label.lower())
    if len(label) > MAX_LABEL:
        raise MalformedName(name=_shown(whole), reason="a label is too long")
    try:
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise MalformedName(name=_shown(whole), reason="IDNA 2008 refuses a label") from error


def _check_a_label(label: str, whole: str) -> None:
    try:
        decoded = idna.ulabel(label)
    except (idna.IDNAError, UnicodeError) as error:
        raise MalformedName(name=_shown(whole), reason="IDNA 2008 refuses a label") from error
    _check_characters(decoded, whole)
    _check_mix(decoded, whole)


def parse_email(text: str) -> str:
    """Read a mailbox ``local@domain``; the domain becomes lower case and A-labels.

    Raises:
        UnsafeName: See ``parse_general_name``.
        MalformedName: Not a dot-atom and a host name (RFC 5280 §4.2.1.6); a local part outside
            ASCII needs SmtpUTF8Mailbox, which is not issued.
    """
    _check_characters(text)
    local, _, domain = text.rpartition("@")
    for label in local.split("."):
        _check_mix(label, text)
    if len(text) > MAX_EMAIL or _LOCAL_PART.fullmatch(local) is None:
        raise MalformedName(name=_shown(text), reason="it is not a mailbox")
    host = parse_dns(domain)
    if host.startswith("*"):
        raise MalformedName(name=_shown(text), reason="a mailbox has no wildcard")
    return f"{local}@{host}"


def parse_uri(text: str) -> str:
    """Read an absolute URI in ASCII; scheme and host become lower case.

    Raises:
        UnsafeName: See ``parse_general_name``.
        MalformedName: No scheme, nothing behind it, a host that is neither name nor address,
            or characters that must be percent-encoded (RFC 5280 §4.2.1.6, RFC 3986).
    """
    _check_characters(text)
    for label in text.split("."):
        _check_mix(label, text)
    if len(text) > MAX_URI or not text.isascii():
        raise MalformedName(name=_shown(text), reason="a URI is ASCII of at most 2048 characters")
    match = _URI.fullmatch(text)
    if match is None or _BAD_ESCAPE.search(text):
        raise MalformedName(name=_shown(text), reason="it is not an absolute URI")
    scheme, user, host, port, rest = match.group("scheme", "user", "host", "port", "rest")
    if host is None:
        if not rest:
            raise MalformedName(name=_shown(text), reason="there is nothing behind the scheme")
        return f"{scheme.lower()}:{rest}"
    if rest and rest[0] not in "/?#":
        raise MalformedName(name=_shown(text), reason="it is not an absolute URI")
    authority = _parse_host(host, text)
    if user is not None:
        authority = f"{user}@{authority}"
    return f"{scheme.lower()}://{authority}{port or ''}{rest}"


def _parse_host(host: str, whole: str) -> str:
    try:
        if host.startswith("["):
            return f"[{ipaddress.IPv6Address(host[1:-1])}]"
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    try:
        name = parse_dns(host)
    except MalformedName as error:
        raise MalformedName(name=_shown(whole), reason="its host is not a name") from error
    if name.startswith("*"):
        raise MalformedName(name=_shown(whole), reason="a URI has no wildcard")
    return name


def check_common_name(text: str) -> str:
    """Check a common name and give it in the form to be issued.

    Host names (anything with a dot that is one) come back as ``parse_dns`` writes them, other
    texts unchanged.

    Raises:
        UnsafeName: See ``parse_general_name``; the rules hold for every dot-separated part.
        MalformedName: Empty, over 64 characters, outer white space, or a part that starts with
            ``xn--`` and is no A-label.
    """
    _check_characters(text)
    if not text or text != text.strip():
        raise MalformedName(name=_shown(text), reason="it is empty or has outer white space")
    parts = text.split(".")
    for part in parts:
        _check_mix(part, text)
        if part[:4].lower() == "xn--":
            _parse_label(part, text)
    result = text
    if len(parts) > 1:
        with contextlib.suppress(MalformedName):
            result = parse_dns(text)
    if len(result) > MAX_COMMON_NAME:
        raise MalformedName(name=_shown(text), reason="a common name has at most 64 characters")
    return result


def check_text(text: str) -> None:
    """Refuse controls, bidi controls and zero-width characters in any subject value.

    Raises:
        UnsafeName: The text contains one.
    """
    _check_characters(text)


def check_subject_text(text: str) -> None:
    """Refuse what makes a subject value read as another one.

    Accented letters are fine (``Zürich``); Latin letters beside Cyrillic, Greek or other letters
    that look like them are not, in one word.

    Raises:
        UnsafeName: As for ``check_text``, or a word of look-alike letters.
    """
    _check_characters(text)
    if text.isascii():
        return
    for word in text.split():
        scripts = {unicodedata.name(c, "").split(" ")[0] for c in word if c.isalpha()}
        if "LATIN" in scripts and scripts & _LOOK_ALIKE:
            raise UnsafeName(name=_shown(text), reason="a word mixes Latin with other letters")


def common_name_as_san(common_name: str) -> GeneralName | None:
    """Give the DNS or IP name that a common name is, or None if it is neither (CERT-4)."""
    try:
        name = parse_general_name(common_name)
    except NameRejected:
        return None
    return name if name.type in (NameType.DNS, NameType.IP) else None


def sort_names(names: Iterable[GeneralName]) -> tuple[GeneralName, ...]:
    """Remove duplicates and order: DNS, IP, email, URI, each by value."""
    return tuple(sorted(set(names), key=lambda name: (_ORDER[name.type], name.value)))


def to_x509(names: Iterable[GeneralName]) -> x509.SubjectAlternativeName:
    """Build the extension value; the order is kept."""
    return x509.SubjectAlternativeName([_to_library(name) for name in names])


def _to_library(name: GeneralName) -> x509.GeneralName:
    match name.type:
        case NameType.DNS:
            return x509.DNSName(name.value)
        case NameType.IP:
            return x509.IPAddress(ipaddress.ip_address(name.value))
        case NameType.EMAIL:
            return x509.RFC822Name(name.value)
        case NameType.URI:
            return x509.UniformResourceIdentifier(name.value)


def from_x509(
    names: Iterable[x509.GeneralName], *, strict: bool = False
) -> tuple[GeneralName, ...]:
    """Read GeneralNames, for instance a SubjectAlternativeName, in their order.

    Args:
        names: What the library parsed.
        strict: Check every name as if it were to be issued and refuse other types. Without it
            values are taken as they stand and names of other types are left out.

    Raises:
        UnsupportedName: Strict, and a name of another type.
        NameRejected: Strict, and a name that ``parse_general_name`` refuses.
    """
    result = []
    for name in names:
        read = _from_library(name)
        if read is None:
            if strict:
                kind = type(name).__name__
                raise UnsupportedName(name=kind, reason="names of this type are not issued")
            continue
        result.append(_recheck(read) if strict else read)
    return tuple(result)


def _from_library(name: x509.GeneralName) -> GeneralName | None:
    if isinstance(name, x509.DNSName):
        return GeneralName(type=NameType.DNS, value=name.value)
    if isinstance(name, x509.IPAddress):
        return GeneralName(type=NameType.IP, value=str(name.value))
    if isinstance(name, x509.RFC822Name):
        return GeneralName(type=NameType.EMAIL, value=name.value)
    if isinstance(name, x509.UniformResourceIdentifier):
        return GeneralName(type=NameType.URI, value=name.value)
    return None


def _recheck(name: GeneralName) -> GeneralName:
    # The type is given here and is not guessed again from the text.
    match name.type:
        case NameType.DNS:
            return GeneralName(type=name.type, value=parse_dns(name.value))
        case NameType.IP:
            try:
                return _parse_ip(name.value)
            except ValueError as error:
                raise MalformedName(name=_shown(name.value), reason="no address") from error
        case NameType.EMAIL:
            return GeneralName(type=name.type, value=parse_email(name.value))
        case NameType.URI:
            return GeneralName(type=name.type, value=parse_uri(name.value))


def _check_characters(text: str, whole: str | None = None) -> None:
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if unicodedata.category(character) in _UNSAFE_CATEGORIES:
            reason = f"it contains U+{ord(character):04X}"
            raise UnsafeName(name=_shown(whole or text), reason=reason)


def _check_mix(label: str, whole: str) -> None:
    if label.isascii():
        return
    has_ascii = any(c.isascii() and c.isalnum() for c in label)
    if has_ascii and any(not c.isascii() and unicodedata.category(c)[0] in "LNM" for c in label):
        raise UnsafeName(name=_shown(whole), reason="a label mixes ASCII with other letters")


def _shown(text: str) -> str:
    # Errors travel to logs and terminals: nothing that could act there may survive.
    return text[:128].encode("ascii", "backslashreplace").decode("ascii")
