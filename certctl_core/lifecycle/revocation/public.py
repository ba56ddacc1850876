"""The public PKI paths, as a WSGI function that needs no framework (02 §13, DESIGN §5).

``/.well-known/pki/{crl,ocsp,ca,bundle}/…`` for everybody, without authentication, on the main
listener and on the plain-HTTP one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import structlog
from sqlalchemy.exc import DBAPIError

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import ChangeFeed
from certctl_core.kernel.errors import HTTP_STATUS, CertctlError, NotFound
from certctl_core.kernel.ids import is_id
from certctl_core.kernel.observability import count_limited
from certctl_core.lifecycle.authorities import AuthorityKey, AuthorityService
from certctl_core.lifecycle.revocation.crl import CRLService
from certctl_core.lifecycle.revocation.crl_answers import certs_only, crl_body, crl_headers
from certctl_core.lifecycle.revocation.errors import (
    NoPublishing,
    OCSPFailed,
    PKIIssuerNotFound,
)
from certctl_core.lifecycle.revocation.limits import SlidingWindow
from certctl_core.lifecycle.revocation.ocsp import OCSPAnswer, OCSPService
from certctl_core.pki.errors import PKIError
from certctl_core.pki.ocsp import (
    MAX_REQUEST_BYTES,
    CertIDHash,
    ResponseStatus,
    error_response,
)
from certctl_core.pki.serials import canonical

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_log = structlog.get_logger("certctl.pki")
PREFIX = "/.well-known/pki/"
_OCSP = PREFIX + "ocsp/"
_OCSP_TYPE = "application/ocsp-response"
_OCSP_REQUEST = "application/ocsp-request"
_GET, _POST = "request_get", "request_post"
_CORS = ("Access-Control-Allow-Origin", "*")
_MAX_PATH = 4096


class PublicPKI:
    """Serves the paths; every answer is bytes.

    Args:
        is_published: Whether a CA of ours stands behind an issuer id (True), another
            operator's (False), or nothing (None).
        crl_interval: Upper bound for caching a CRL.
        ocsp_per_minute: OCSP requests a minute and address; 0 switches the limit off.
        shared_limits: File in which all processes of this server count; None for one alone.
        client_ip: Peer address and forwarded header → the address that counts.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        feed: ChangeFeed,
        authorities: AuthorityService,
        crls: CRLService,
        ocsp: OCSPService,
        is_published: Callable[[str], bool | None],
        crl_interval: timedelta,
        ocsp_per_minute: int,
        shared_limits: Path | None,
        client_ip: Callable[[str, str], str],
    ) -> None:
        self._clock = clock
        self._feed = feed
        self._authorities = authorities
        self._crls = crls
        self._ocsp = ocsp
        self._is_published = is_published
        self._crl_interval = crl_interval
        self._limit = SlidingWindow(
            limit=ocsp_per_minute, seconds=60.0, clock=clock, shared=shared_limits
        )
        self._client_ip = client_ip
        for topic in ("pki", "issuers"):
            feed.subscribe(topic, self.forget)

    def close(self) -> None:
        """Give back what is shared with other processes."""
        self._limit.close()

    def forget(self) -> None:
        """Drop what memory holds about every CA (topics ``pki`` and ``issuers``)."""
        self._crls.forget()
        self._ocsp.forget()

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request below ``/.well-known/pki/``."""
        path = environ["PATH_INFO"]
        try:
            if path.startswith(_OCSP) and environ["REQUEST_METHOD"] == "POST":
                return self._ocsp_post(environ, start_response, path[len(_OCSP) :])
            return self._get(environ, start_response, path[len(PREFIX) :])
        except CertctlError as error:
            return _problem(error, start_response)
        except Exception:  # noqa: BLE001 - the edge of these paths
            _log.exception("pki.crashed", path=path[:200])
            return _plain(start_response, "500 Internal Server Error", "internal error")

    # -- OCSP ---------------------------------------------------------------------------------

    def _ocsp_post(
        self, environ: WSGIEnvironment, start_response: StartResponse, issuer_id: str
    ) -> Iterable[bytes]:
        if not self._allows(environ):
            return self._try_later(start_response, _POST)
        kind = environ.get("CONTENT_TYPE")
        if kind and kind != _OCSP_REQUEST and _OCSP_REQUEST not in kind.lower():
            self._ocsp.count(_POST)
            return _plain(
                start_response, "415 Unsupported Media Type", "send application/ocsp-request"
            )
        body = _body(environ)
        if body is None:
            self._ocsp.count(_POST)
            return _plain(
                start_response, "413 Payload Too Large", "an OCSP request has 10 KiB at most"
            )
        fresh = self._feed.is_fresh()
        answer = self._ocsp.remembered(issuer_id, body, _POST) if fresh else None
        if answer is None:
            answer = self._answer(issuer_id, body, _POST, fresh=fresh)
            if answer is None:
                return _internal_error(start_response)
        start_response("200 OK", answer.headers)
        return (answer.der,)

    def _answer(self, issuer_id: str, der: bytes, method: str, *, fresh: bool) -> OCSPAnswer | None:
        """The answer to a DER request, counted; None when it could not be made (OCSP-5)."""
        try:
            repeated = self._ocsp.repeated(issuer_id, der, method) if fresh else None
            if repeated is not None:
                return repeated
            self._ocsp.count(method)
            self._check_issuer(issuer_id)
            return self._ocsp.answer(issuer_id, der, is_fresh=fresh)
        except (PKIIssuerNotFound, NoPublishing):
            raise
        except (CertctlError, PKIError, DBAPIError) as error:
            self._failed(issuer_id, error)
            return None

    def _failed(self, issuer_id: str, error: Exception) -> None:
        self._ocsp.count("signing_failed")
        cause = getattr(error, "log", None)
        _log.error("ocsp.failed", issuer_id=issuer_id, error=str(error), cause=cause)

    def _ocsp_get(
        self, environ: WSGIEnvironment, start_response: StartResponse, rest: str
    ) -> Iterable[bytes]:
        issuer_id, _, asked = rest.partition("/")
        if not self._allows(environ):
            return self._try_later(start_response, _GET)
        fresh = self._feed.is_fresh()
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        as_sent = not raw or raw == environ["PATH_INFO"]
        found = self._ocsp.remembered(issuer_id, asked, _GET) if fresh and as_sent else None
        if found is None:
            text = _behind_the_issuer(raw) if raw and _OCSP in raw else asked
            serial = _serial(text)
            if serial is not None:
                self._ocsp.count(_GET)
                found = self._by_serial(environ, issuer_id, serial, fresh=fresh)
            else:
                der = _from_base64(text)
                if der is None:
                    self._ocsp.count(_GET)
                    return _plain(
                        start_response, "400 Bad Request", "neither a serial nor a request"
                    )
                found = self._by_request(issuer_id, der, fresh=fresh)
                if found is None:
                    return _internal_error(start_response)
                if fresh and as_sent:
                    self._ocsp.note_text(issuer_id, asked, der)
        return _conditional(environ, start_response, found.headers, (found.der,))

    def _by_request(self, issuer_id: str, der: bytes, *, fresh: bool) -> OCSPAnswer | None:
        found = self._ocsp.remembered(issuer_id, der, _GET) if fresh else None
        return found or self._answer(issuer_id, der, _GET, fresh=fresh)

    def _by_serial(
        self, environ: WSGIEnvironment, issuer_id: str, serial: str, *, fresh: bool
    ) -> OCSPAnswer:
        self._check_issuer(issuer_id)
        name = parse_qs(environ.get("QUERY_STRING", "")).get("hash", ["sha1"])[0]
        try:
            algorithm = CertIDHash(name.lower())
        except ValueError as error:
            raise PKIIssuerNotFound from error
        try:
            answer = self._ocsp.answer_serial(issuer_id, serial, algorithm, is_fresh=fresh)
        except (PKIError, DBAPIError) as error:
            self._failed(issuer_id, error)
            raise OCSPFailed from error
        except CertctlError as error:
            self._failed(issuer_id, error)
            raise
        if answer is None:
            raise PKIIssuerNotFound
        return answer

    def _allows(self, environ: WSGIEnvironment) -> bool:
        """Whether the limit per address leaves room for this request (OCSP-12)."""
        return not self._limit.is_on or self._limit.allow(self._address(environ))

    def _try_later(self, start_response: StartResponse, method: str) -> Iterable[bytes]:
        count_limited("ocsp")
        self._ocsp.count(method, "rate_limited")
        start_response(
            "200 OK",
            [
                ("Content-Type", _OCSP_TYPE),
                ("Cache-Control", "no-store"),
                ("Retry-After", "60"),
            ],
        )
        return (error_response(ResponseStatus.TRY_LATER),)

    # -- CRL, CA certificates -----------------------------------------------------------------

    def _get(
        self, environ: WSGIEnvironment, start_response: StartResponse, rest: str
    ) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"} or len(rest) > _MAX_PATH:
            return _plain(
                start_response, "405 Method Not Allowed", "GET or HEAD", [("Allow", "GET, HEAD")]
            )
        kind, _, tail = rest.partition("/")
        if kind == "ocsp":
            return self._ocsp_get(environ, start_response, tail)
        issuer_id, _, ca_key_id = tail.partition("/")
        if kind == "crl":
            return self._crl(environ, start_response, issuer_id, ca_key_id)
        if kind == "ca" and ca_key_id == "chain":
            return self._chain(environ, start_response, issuer_id)
        if kind == "ca":
            return self._ca(environ, start_response, issuer_id, ca_key_id)
        if kind == "bundle" and not ca_key_id:
            self._check_issuer(issuer_id)
            body = "".join(self._authorities.trust_anchors(issuer_id)).encode()
            return self._cacheable(environ, start_response, body, "application/x-pem-file")
        raise PKIIssuerNotFound

    def _crl(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        issuer_id: str,
        rest: str,
    ) -> Iterable[bytes]:
        ca_key_id, slash, part = rest.partition("/")
        if slash and not (ca_key_id and part):
            raise PKIIssuerNotFound
        key = self._key(issuer_id, ca_key_id)
        crl = self._crls.current(key, part, trust_memory=self._feed.is_fresh())
        is_pem = _format(environ) == "pem"
        headers = crl_headers(
            crl, now=self._clock.now(), interval=self._crl_interval, is_pem=is_pem
        )
        return _conditional(environ, start_response, headers, crl_body(crl, is_pem=is_pem))

    def _ca(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        issuer_id: str,
        ca_key_id: str,
    ) -> Iterable[bytes]:
        key = self._key(issuer_id, ca_key_id)
        der = base64.b64decode("".join(key.certificate_pem.strip().splitlines()[1:-1]))
        return self._cacheable(environ, start_response, der, "application/pkix-cert")

    def _chain(
        self, environ: WSGIEnvironment, start_response: StartResponse, issuer_id: str
    ) -> Iterable[bytes]:
        key = self._key(issuer_id, "")
        text = key.certificate_pem if key.certificate_pem not in key.chain_pem else ""
        chain = text + key.chain_pem
        if _format(environ) == "p7c":
            kind = "application/pkcs7-mime; smime-type=certs-only"
            return self._cacheable(environ, start_response, certs_only(chain), kind)
        kind = "application/pem-certificate-chain"
        return self._cacheable(environ, start_response, chain.encode(), kind)

    def _cacheable(
        self, environ: WSGIEnvironment, start_response: StartResponse, body: bytes, kind: str
    ) -> Iterable[bytes]:
        headers = [
            ("Content-Type", kind),
            ("ETag", f'"{hashlib.sha256(body).hexdigest()}"'),
            ("Cache-Control", "public, max-age=3600"),
            ("Content-Length", str(len(body))),
            _CORS,
        ]
        return _conditional(environ, start_response, headers, (body,))

    def _key(self, issuer_id: str, ca_key_id: str) -> AuthorityKey:
        self._check_issuer(issuer_id)
        if not ca_key_id:
            current = self._authorities.find_current(issuer_id)
            if current is None:
                raise PKIIssuerNotFound
            return current
        for key in self._authorities.authority_keys(issuer_id):
            if key.ca_key_id == ca_key_id.lower():
                return key
        raise PKIIssuerNotFound

    def _check_issuer(self, issuer_id: str) -> None:
        if not is_id(issuer_id):
            raise PKIIssuerNotFound
        if self._authorities.publishes(issuer_id):
            return
        if self._is_published(issuer_id) is False:
            raise NoPublishing(issuer_id=issuer_id)
        raise PKIIssuerNotFound

    def _address(self, environ: WSGIEnvironment) -> str:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        peer = environ.get("REMOTE_ADDR", "")
        return self._client_ip(peer, forwarded) if forwarded else peer


def _internal_error(start_response: StartResponse) -> Iterable[bytes]:
    start_response(
        "500 Internal Server Error",
        [("Content-Type", _OCSP_TYPE), ("Cache-Control", "no-store")],
    )
    return (error_response(ResponseStatus.INTERNAL_ERROR),)


def _body(environ: WSGIEnvironment) -> bytes | None:
    """The request body, or None when it is larger than an OCSP request may be."""
    declared = environ.get("CONTENT_LENGTH") or ""
    if declared.isdigit():
        length = int(declared)
        return None if length > MAX_REQUEST_BYTES else environ["wsgi.input"].read(length)
    body: bytes = environ["wsgi.input"].read(MAX_REQUEST_BYTES + 1)
    return None if len(body) > MAX_REQUEST_BYTES else body


def _behind_the_issuer(raw: str) -> str:
    """What stands behind the issuer in an address as it was sent: servers may clean the path."""
    return unquote(raw.partition("?")[0].partition(_OCSP)[2].partition("/")[2])


def _serial(text: str) -> str | None:
    """A serial in any spelling; a DER request in base64 starts with M and is none (OCSP-2)."""
    if not text or text[:1] in "Mm" or "/" in text:
        return None
    try:
        return canonical(text)
    except PKIError:
        return None


def _from_base64(text: str) -> bytes | None:
    padded = text + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _conditional(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    headers: list[tuple[str, str]],
    body: Iterable[bytes],
) -> Iterable[bytes]:
    """200, or 304 with the same caching headers when the caller has it already."""
    wanted = environ.get("HTTP_IF_NONE_MATCH")
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    if wanted or since:
        present = dict(headers)
        if _is_current(present, wanted, since):
            kept = [item for item in headers if item[0] not in {"Content-Length", "Content-Type"}]
            start_response("304 Not Modified", kept)
            return (b"",)
    start_response("200 OK", headers)
    return (b"",) if environ["REQUEST_METHOD"] == "HEAD" else body


def _is_current(headers: dict[str, str], wanted: str | None, since: str | None) -> bool:
    etag = headers.get("ETag", "")
    if wanted:
        tags = [part.strip().removeprefix("W/") for part in wanted.split(",")]
        return bool(etag) and ("*" in tags or etag in tags)
    modified = headers.get("Last-Modified")
    if not since or not modified:
        return False
    try:
        asked = parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False
    if asked.tzinfo is None:
        asked = asked.replace(tzinfo=UTC)
    return parsedate_to_datetime(modified) <= asked


def _format(environ: WSGIEnvironment) -> str:
    """What ``?format=`` asks for, or nothing."""
    query = environ.get("QUERY_STRING", "")
    return parse_qs(query).get("format", [""])[0].lower() if query else ""


def _problem(error: CertctlError, start_response: StartResponse) -> Iterable[bytes]:
    status = HTTP_STATUS[error.kind]
    title = "Not Found" if isinstance(error, NotFound) else "Error"
    body = json.dumps(
        {
            "type": f"urn:certctl:problem:{error.code}",
            "title": title,
            "status": status,
            "detail": error.detail,
            "code": error.code,
        }
    ).encode()
    start_response(
        f"{status} {title}",
        [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ],
    )
    return (body,)


def _plain(
    start_response: StartResponse,
    status: str,
    text: str,
    headers: list[tuple[str, str]] | None = None,
) -> Iterable[bytes]:
    body = (text + "\n").encode()
    start_response(
        status,
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *(headers or []),
        ],
    )
    return (body,)
