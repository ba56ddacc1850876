"""Redaction of what is logged, audited or answered (spec 08 LOG-2, 05 AUD-10, 06 SEC-6).

Three nets, one behind the other: keys that name a credential or a person, patterns in text, and the
exact values of secrets that are known to be in play. The last line of defence, not the first:
secrets are a type.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from certctl_core.kernel.events import JSON, to_json
from certctl_core.kernel.secrets.credential import REDACTED, Credential
from certctl_core.kernel.secrets.secret import MASK, Secret

CREDENTIAL = "[REDACTED:CREDENTIAL]"
PII = "[REDACTED:PII]"
TOO_DEEP = "[REDACTED:DEPTH]"

MIN_KNOWN_CHARS = 6
"""A shorter secret would blot out ordinary words."""

MAX_DEPTH = 32


def _normal(key: str) -> str:
    return key.lower().replace("-", "").replace("_", "")


CREDENTIAL_KEYS = frozenset(
    map(
        _normal,
        [
            "api_key",
            "password",
            "passphrase",
            "secret",
            "client_secret",
            "token",
            "access_token",
            "refresh_token",
            "bootstrap_token",
            "bootstrap_token_previous",
            "credential",
            "credentials",
            "private_key",
            "private_key_pem",
            "key_pem",
            "cert_pem",
            "chain_pem",
            "full_pem",
            "eab_secret",
            "eab_kid",
            "acme_account_key",
            "hmac",
            "hmac_key",
            "signature",
            "auth",
            "authorization",
            "bearer",
            "id_token",
            "logout_token",
            "code_verifier",
            "nonce",
            "cookie",
            "set-cookie",
            "csrf_token",
            "otp",
            "webhook_url",
            "routing_key",
        ],
    )
)
WORD_KEYS = frozenset({"code", "state"})
"""Credentials of a login, but elsewhere plain words (an error code, a state): words stay."""

PII_KEYS = frozenset(
    map(
        _normal,
        [
            "email",
            "email_address",
            "phone",
            "phone_number",
            "telephone",
            "ssn",
            "social_security",
            "dob",
            "date_of_birth",
            "full_name",
            "first_name",
            "last_name",
            "surname",
            "address",
            "street",
            "street_address",
            "city",
            "postal_code",
            "zip",
            "zipcode",
            "ip",
            "ip_address",
        ],
    )
)
"""``name`` alone is not in it: it hides roles, profiles and providers and protects nobody."""

_WORD = re.compile(
    r"[a-z]+\d{0,2}(?:[ _.-][a-z]+\d{0,2})*"  # rate_limited, ok, upstream_5xx
    r"|[A-Za-z][a-z]+(?:[A-Z][a-z]+)*"  # RenewalInProgress, badCSR
    r"|[A-Z]+(?:_[A-Z]+)*"  # SERVFAIL
)
_MAX_WORD = 64

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
            r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        CREDENTIAL,
    ),
    (
        re.compile(
            r"\b(?:(Bearer|GenieKey|SSWS)(\s{1,4})(?!auth|cred|token)[A-Za-z0-9._~+/=:-]{6,}"
            r"|(Basic|Token)(\s{1,4})[A-Za-z0-9._~+/=:-]{16,})",
            re.IGNORECASE,
        ),
        rf"\1\2\3\4{CREDENTIAL}",
    ),
    (
        re.compile(
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*"
            r"(?:\.[A-Za-z0-9_-]*){0,2}"
        ),
        CREDENTIAL,
    ),
    (
        re.compile(r"(?<![A-Za-z0-9_])(?:ctl_[A-Za-z0-9]{4}|cca|whsec)_[A-Za-z0-9+/=_-]{16,}"),
        CREDENTIAL,
    ),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}://)[^\s/?#]{1,1024}@"), rf"\1{CREDENTIAL}@"),
    (
        re.compile(
            r"([?&](?:access_token|api_?key|client_secret|code|key|password|secret|sig|signature"
            r"|token|x-amz-signature|x-amz-credential|x-amz-security-token)=)[^&#\s]{1,4096}",
            re.IGNORECASE,
        ),
        rf"\1{CREDENTIAL}",
    ),
)

# Most texts hold none of these; one look spares them the patterns.
_SUSPECT = re.compile(
    r"-----begin |eyj|://|[?&]|ctl_|cca_|whsec_|bearer|basic|token|geniekey|ssws", re.IGNORECASE
)


class Redactor:
    """Redacts text and structures; knows the secrets of whoever is acting.

    Args:
        known: Secret values in play; those under 6 characters are not searched for.
    """

    def __init__(self, known: Iterable[str | Secret] = ()) -> None:
        forms: set[str] = set()
        for item in known:
            value = item.reveal() if isinstance(item, Secret) else item
            if len(value) >= MIN_KNOWN_CHARS:
                forms.update(_forms(value))
        # The longest first, or a part of one would hide the rest of another.
        alternatives = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._known = re.compile(alternatives) if forms else None

    def text(self, text: str) -> str:
        """The text without private keys, tokens, URL credentials and known secrets."""
        if self._known is not None:
            text = self._known.sub(CREDENTIAL, text)
        if _SUSPECT.search(text):
            for pattern, replacement in _PATTERNS:
                text = pattern.sub(replacement, text)
        return text

    def value(
        self, value: object, *, pii: bool = True, public: Collection[str] = ()
    ) -> tuple[JSON, tuple[str, ...]]:
        """The value as JSON with everything sensitive replaced; the input is not changed.

        Args:
            value: Anything; what is not JSON is turned into it (times RFC 3339, else ``str``).
            pii: Whether keys about persons are redacted, too.
            public: Keys that a typed model declares public: their own names do not redact them,
                their content still passes the patterns.

        Returns:
            The redacted JSON, and the dotted paths of what was replaced, in order of appearance.
        """
        paths: list[str] = []
        allowed = frozenset(_normal(key) for key in public)
        redacted = self._walk(value, path="", depth=0, pii=pii, public=allowed, paths=paths)
        return redacted, tuple(paths)

    def _walk(
        self,
        value: object,
        *,
        path: str,
        depth: int,
        pii: bool,
        public: frozenset[str],
        paths: list[str],
    ) -> JSON:
        if isinstance(value, Secret):
            paths.append(path)
            return MASK
        if isinstance(value, Credential):
            paths.append(path)
            return REDACTED
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if depth >= MAX_DEPTH:
                paths.append(path)
                return TOO_DEEP
            if isinstance(value, Mapping):
                return self._walk_mapping(
                    value, path=path, depth=depth, pii=pii, public=public, paths=paths
                )
            return [
                self._walk(
                    item,
                    path=f"{path}[{index}]",
                    depth=depth + 1,
                    pii=pii,
                    public=public,
                    paths=paths,
                )
                for index, item in enumerate(value)
            ]
        plain = to_json(value)
        if not isinstance(plain, str):
            return plain
        text = self.text(plain)
        if text != plain:
            paths.append(path)
        return text

    def _walk_mapping(
        self,
        value: Mapping[object, object],
        *,
        path: str,
        depth: int,
        pii: bool,
        public: frozenset[str],
        paths: list[str],
    ) -> JSON:
        result: dict[str, JSON] = {}
        for raw_key, item in value.items():
            key = raw_key if type(raw_key) is str else str(raw_key)
            if item is None or (_is_free(key) and self._is_plain(item)):
                result[key] = item  # type: ignore[assignment] # one of the plain types
                continue
            where = f"{path}.{key}" if path else key
            mark = _mark(key, item, pii=pii, public=public)
            if mark is not None:
                paths.append(where)
                result[key] = mark
                continue
            result[key] = self._walk(
                item, path=where, depth=depth + 1, pii=pii, public=public, paths=paths
            )
        return result

    def _is_plain(self, item: object) -> bool:
        """Whether it is JSON as it stands, with nothing in it that could have to go."""
        if type(item) is str:
            return not _SUSPECT.search(item) and not (self._known and self._known.search(item))
        return type(item) in _NUMBERS


_NUMBERS = frozenset({int, bool, float})


@lru_cache(maxsize=4096)
def _is_free(key: str) -> bool:
    """Whether nothing is redacted for the name of its key alone."""
    name = _normal(key)
    return name not in CREDENTIAL_KEYS and name not in WORD_KEYS and name not in PII_KEYS


def _forms(value: str) -> Iterable[str]:
    """The ways in which a secret shows up in text: plain, in a URL, in JSON, in base64."""
    yield value
    yield quote(value, safe="")
    yield value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    yield base64.b64encode(value.encode()).decode().rstrip("=")


def _mark(key: str, value: object, *, pii: bool, public: frozenset[str]) -> str | None:
    name = _normal(key)
    if name in public:
        return None
    if name in CREDENTIAL_KEYS:
        return CREDENTIAL
    if name in WORD_KEYS and isinstance(value, str) and not _is_word(value):
        return CREDENTIAL
    if pii and name in PII_KEYS:
        return PII
    return None


def _is_word(value: str) -> bool:
    return len(value) <= _MAX_WORD and _WORD.fullmatch(value) is not None


_PLAIN = Redactor()


def redact(
    value: object, *, pii: bool = True, public: Collection[str] = ()
) -> tuple[JSON, tuple[str, ...]]:
    """``Redactor.value`` without known secrets: for logs, audit details and error bodies."""
    return _PLAIN.value(value, pii=pii, public=public)


def redact_text(text: str) -> str:
    """``Redactor.text`` without known secrets."""
    return _PLAIN.text(text)
