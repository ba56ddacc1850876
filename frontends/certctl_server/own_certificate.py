"""The server's own certificate, when no files are configured (spec 08 TLS-6).

It is a managed certificate like any other, issued by the built-in CA through the one choke point;
only its key lies here, and we renew it when two thirds of its life are over.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.errors import CertctlError, Conflict, NotFound
from certctl_core.lifecycle.certificates import CreateCertificate
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem
from certctl_core.pki.x509 import split_pem, to_pem
from certctl_core.values import dataclass
from certctl_server.files import write_atomically
from certctl_server.first_start import CA_FILE
from certctl_server.tls import OWN_PAIR, TLSPair, TLSPairUnusable, check_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl_core.app import Core
    from certctl_core.lifecycle.authorities import AuthorityKey
    from certctl_core.lifecycle.issuance import IssuedCertificate
    from certctl_core.pki.keys import SigningKey

NAME = "certctl-server"
CERTIFICATE_ID = "mc-certctl-server"
RETRY = timedelta(minutes=5)
"""How soon the next attempt follows while the CA cannot sign."""

REFUSED_RETRY = timedelta(hours=1)
"""How soon it follows when the CA refuses; a change of the CA brings one at once."""

_ACTOR = system_actor("server")
_ISSUER = "iss-local"
_ID_LINE = re.compile(r"\A# managed certificate ([A-Za-z0-9-]+)\n")
_WILDCARDS = frozenset({"0.0.0.0", "::"})
_END_CERTIFICATE = "-----END CERTIFICATE-----\n"
_log = structlog.get_logger("certctl.server")


class NoServerCertificate(Exception):
    """There are neither files nor a CA that could issue a certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Present:
    """A certificate that can be served, with what comes behind it."""

    chain: tuple[x509.Certificate, ...]
    not_after: datetime
    renew_at: datetime


class OwnCertificate:
    """Keeps ``server.pem`` and ``ca.crt`` of one data directory right.

    Attributes:
        refused: Why the last ``ensure`` got no certificate and kept the one that was there, or "".
    """

    def __init__(self, core: Core) -> None:
        self.refused = ""
        self._core = core
        self._pair = TLSPair(certificate=self.path, key=self.path, is_own=True)

    @property
    def path(self) -> Path:
        """Key, certificate and chain in one file, 0600."""
        return self._core.settings.data_dir / OWN_PAIR

    def write_anchors(self, *, served: Sequence[TLSPair] = ()) -> Path | None:
        """Write what clients should trust to ``ca.crt``; None where there is no built-in CA.

        Args:
            served: The pairs that clients may meet now: see ``missing_anchor``.
        """
        anchors = self._core.rooms.authorities.trust_anchors(_ISSUER)
        missing = [top for pair in served if (top := self.missing_anchor(pair)) is not None]
        wanted = tuple(dict.fromkeys((*anchors, *missing)))
        path = self._core.settings.data_dir / CA_FILE
        if not wanted:
            return None
        text = "".join(wanted)
        if not path.exists():
            write_atomically(path, text, mode=0o644)
        elif (before := path.read_text()) != text:
            self._keep_lost(path, before, wanted)
            write_atomically(path, text, mode=0o644)
        return path

    def missing_anchor(self, served: TLSPair) -> str | None:
        """The root of a certificate of ours that is no anchor any more, as PEM.

        Its CA was declared compromised. As long as the server still shows that certificate, the
        command line has to trust it: the way to the next CA leads through this server.
        """
        if not served.is_own:
            return None
        authorities = self._core.rooms.authorities
        try:
            leaf = split_pem(served.certificate.read_text())[0]
        except (PKIError, OSError, UnicodeDecodeError):
            return None
        key = authorities.authority_of(_ISSUER, leaf)
        if key is None:
            return None
        top = to_pem((key.certificate, *key.above)[-1])
        return None if top in authorities.trust_anchors(_ISSUER) else top

    def _keep_lost(self, path: Path, before: str, anchors: tuple[str, ...]) -> None:
        """Put the file aside when it has a CA that the database does not know any more.

        That is what a restore to a moment before a rotation leaves behind: with this certificate
        and its key in ``ca/``, the lost CA comes back by CERTCTL_CA_PREVIOUS.
        """
        keys = self._core.rooms.authorities.authority_keys(_ISSUER)
        known = {one for key in keys for one in (key.certificate, *key.above)}
        known |= {root for pem in anchors for root in split_pem(pem)}
        try:
            lost = [root for root in split_pem(before) if root not in known]
        except PKIError:
            return
        if not lost:
            return
        kept = path.with_name(f"{path.name}.before-{self._core.clock.now():%Y%m%d%H%M%S}")
        write_atomically(kept, before, mode=0o644)
        _log.warning(
            "ca.unknown_anchor_kept",
            path=str(kept),
            subjects=[root.subject.rfc4514_string() for root in lost],
            detail="The database does not know this CA; it may be older than the last rotation.",
        )

    def ensure(self) -> datetime:
        """Make sure that a certificate is there that fits, and issue a new one if it is not.

        One that can be served stays where no other can be had.

        Returns:
            When to look again: its renewal, or the next attempt.

        Raises:
            NoServerCertificate: There is none, and the built-in CA is not there or cannot sign.
            CertctlError: There is none, and the issuance was refused.
        """
        self.refused = ""
        present = self._present()
        try:
            authority = self._authority()
        except NoServerCertificate as error:
            if present is None:
                raise
            # The way to repair the CA leads through this server.
            return self._keep(present, str(error), RETRY)
        if present is not None and self._fits(present.chain[0], authority):
            self._follow_chain(present, authority)
            if present.renew_at > self._core.clock.now():
                return present.renew_at
        try:
            self._issue()
        except CertctlError as error:
            if present is None:
                raise
            self.refused = error.detail.removesuffix(".")
            return self._keep(present, self.refused, REFUSED_RETRY)
        made = self._present()
        if made is None or not self._fits(made.chain[0], authority):
            message = f"the certificate that was just issued into {self.path} does not fit"
            raise NoServerCertificate(message)
        return made.renew_at

    def is_current(self, served: TLSPair) -> bool:
        """Whether the CA that issues now stands behind the pair; true where none can issue."""
        try:
            authority = self._authority()
            chain = split_pem(served.certificate.read_text())
        except (NoServerCertificate, PKIError, OSError):
            return True
        return self._fits(chain[0], authority)

    def names(self) -> tuple[str, ...]:
        """The names the certificate should have, the common name first."""
        server = self._core.settings.server
        first = NAME
        if server.public_url is not None:
            first = _host_of(str(server.public_url))
        wanted = [first, NAME, "localhost", "127.0.0.1", "::1", *map(str, server.tls_sans)]
        if server.host not in _WILDCARDS:
            wanted.append(server.host)
        return tuple(dict.fromkeys(_plain(name) for name in wanted))

    # -- what is there ------------------------------------------------------------------------

    def _present(self) -> _Present | None:
        """The certificate that lies there, if it can be served."""
        try:
            pair = check_pair(self._pair, now=self._core.clock.now())
            chain = split_pem(self.path.read_text())
        except (TLSPairUnusable, PKIError, OSError):
            return None
        return _Present(
            chain=tuple(chain),
            not_after=pair.not_after,
            renew_at=pair.not_before + (pair.not_after - pair.not_before) * 2 / 3,
        )

    def _fits(self, leaf: x509.Certificate, authority: AuthorityKey) -> bool:
        """Whether it has the names that it should, and is of the CA that issues."""
        if set(_names_of(leaf)) != set(self.names()):
            return False
        try:
            leaf.verify_directly_issued_by(authority.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _keep(self, present: _Present, reason: str, retry: timedelta) -> datetime:
        _log.warning("server.certificate_kept", reason=reason)
        return min(present.not_after, self._core.clock.now() + retry)

    def _follow_chain(self, present: _Present, authority: AuthorityKey) -> None:
        """Take over what stands above the CA now: a cross certificate comes or goes."""
        above = authority.chain_pem
        if tuple(split_pem(above) if above else ()) == present.chain[1:]:
            return
        text = self.path.read_text()
        end = text.index(_END_CERTIFICATE) + len(_END_CERTIFICATE)
        write_atomically(self.path, text[:end] + above, mode=0o600)

    def _authority(self) -> AuthorityKey:
        try:
            return self._core.rooms.authorities.signing_key(_ISSUER)
        except CertctlError as error:
            message = (
                "no server certificate: the built-in CA cannot issue one "
                f"({error.detail.removesuffix('.')})"
            )
            raise NoServerCertificate(message) from error

    # -- a new one ----------------------------------------------------------------------------

    def _issue(self) -> None:
        key = generate(KeyAlgorithm.ECDSA_P256)
        csr = _csr(self.names(), key)
        named = self._named_id()
        certificate_id = named or CERTIFICATE_ID
        try:
            if not self._has_our_names(certificate_id):
                # Another server's, or ours with the names of before: those of a managed
                # certificate do not change.
                issued = self._create_another(csr)
                self._archive(named)
            else:
                issued = self._core.rooms.issuance.issue(
                    certificate_id=certificate_id, csr_pem=csr, actor=_ACTOR, request_id=""
                )
        except NotFound:
            issued = self._create(certificate_id, NAME, csr)
        except Conflict:
            # Revoked, archived or busy elsewhere: the server still needs a certificate.
            issued = self._create_another(csr)
        text = (
            f"# managed certificate {issued.certificate.id}\n"
            + private_key_pem(key).decode()
            + issued.certificate_pem
            + issued.chain_pem
        )
        write_atomically(self.path, text, mode=0o600)
        _log.info(
            "server.certificate_issued",
            certificate_id=issued.certificate.id,
            not_after=issued.version.not_after.isoformat(),
        )

    def _has_our_names(self, certificate_id: str) -> bool:
        with self._core.units.read() as uow:
            view = self._core.rooms.certificates.get(uow, certificate_id)
        return {_plain(name) for name in (view.common_name, *view.sans)} == set(self.names())

    def _archive(self, certificate_id: str | None) -> None:
        """Nobody renews the one of before: it must not look forgotten."""
        if certificate_id is None:
            return
        try:
            with self._core.units.begin(_ACTOR) as uow:
                self._core.rooms.certificates.archive(uow, certificate_id)
        except CertctlError as error:
            _log.warning("server.certificate_not_archived", code=error.code, **error.data)

    def _create_another(self, csr: str) -> IssuedCertificate:
        suffix = secrets.token_hex(4)
        return self._create(f"{CERTIFICATE_ID}-{suffix}", f"{NAME}-{suffix}", csr)

    def _create(self, certificate_id: str, name: str, csr: str) -> IssuedCertificate:
        names = self.names()
        body = CreateCertificate(
            id=certificate_id,
            name=name,
            common_name=names[0],
            sans=list(names),
            issuer_id=_ISSUER,
            environment="certctl",
            managed_renewal=False,
        )
        return self._core.rooms.issuance.create_and_issue(body, csr, actor=_ACTOR, request_id="")

    def _named_id(self) -> str | None:
        """The managed certificate that the file names as its own."""
        try:
            found = _ID_LINE.match(self.path.read_text())
        except (OSError, UnicodeDecodeError):
            return None
        return found.group(1) if found else None


def ca_mark(core: Core) -> tuple[object, ...]:
    """What the server's own certificate and ``ca.crt`` depend on, to be compared."""
    authorities = core.rooms.authorities
    key = authorities.find_current(_ISSUER)
    issuing = key and (key.certificate_pem, key.chain_pem, key.private_key is not None)
    return (issuing, authorities.trust_anchors(_ISSUER))


def _csr(names: tuple[str, ...], key: SigningKey) -> str:
    common_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(common_name)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _plain(name: str) -> str:
    """One spelling a name: addresses compressed, host names in lower case."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or NAME
