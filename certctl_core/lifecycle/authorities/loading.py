"""Where CA keys come from: the operator's files, or a signer that made them (02 §4, §5).

Everything here reads files or asks signers; nothing writes to the database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509

from certctl_core.contracts.errors import PluginError
from certctl_core.contracts.signers import (
    KeyNotFound,
    KeyRefInvalid,
    KeyRejectedBySigner,
    KeyUnsafe,
    SignerProvider,
)
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Secret
from certctl_core.lifecycle.authorities._store import CAKeyRow
from certctl_core.lifecycle.authorities.errors import (
    CAChainBroken,
    CAFileUnreadable,
    CAKeyMalformed,
    CAKeyPermissions,
    CAKeyUnavailable,
    CAMaterialError,
    CAPathsIncomplete,
)
from certctl_core.lifecycle.authorities.material import (
    CACertificates,
    check_certificates,
    check_key_pair,
    is_self_issued,
    key_usage,
    parse_certificates,
    read_certificate_file,
    verify_upwards,
)
from certctl_core.lifecycle.authorities.schemas import LocalConfig
from certctl_core.lifecycle.authorities.signers import (
    FILE_SIGNER,
    MEMORY_SIGNER,
    GuardedSigner,
)
from certctl_core.lifecycle.authorities.types import (
    SIGNING_STATES,
    AuthorityKey,
    AuthorityURLs,
    CAKeyState,
    CAOrigin,
)
from certctl_core.pki.chain import check_ca
from certctl_core.pki.keys import KeyAlgorithm, SigningKey
from certctl_core.pki.pkcs11_uri import is_pkcs11_uri
from certctl_core.pki.serials import new_serial
from certctl_core.pki.x509 import IssuerTemplate, build_root, to_pem
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.authorities")

LOCAL_ISSUER_ID = "iss-local"
_BACKDATE = timedelta(seconds=60)
_OLD_MARK = ".old-rotated-"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerCA:
    """A former CA of ``iss-local`` (``CERTCTL_CA_PREVIOUS``).

    Attributes:
        cert_path: PEM file, the CA first.
        key_ref: The path of a key file, or another signer's reference, ``pkcs11:…``.
    """

    cert_path: Path
    key_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySettings:
    """The settings of this room, as plain values.

    Attributes:
        ca_cert_path / ca_key_path: The operator's CA for ``iss-local``; both or neither. The key may
            be a ``pkcs11:`` URI.
        ca_key_passphrase: Of that key and of former ones, or None.
        ca_previous: Former CAs of ``iss-local``: CRL and OCSP only (02 ROT-2).
        public_base: Base of CRL, OCSP and CA certificate addresses without trailing slash
            (``CERTCTL_PKI_BASE_URL``, else ``CERTCTL_PUBLIC_URL``); empty for none.
        ocsp_direct_signing: A CA made here gets digitalSignature (02 CA-3).
        signer: Kind of the signer that keeps keys made here, where the issuer names none.
        crl_partitions: End-entity certificates point at one of so many partitions of the CRL.
    """

    ca_cert_path: Path | None = None
    ca_key_path: Path | str | None = None
    ca_key_passphrase: Secret | None = None
    ca_previous: tuple[FormerCA, ...] = ()
    public_base: str = ""
    ocsp_direct_signing: bool = False
    signer: str = FILE_SIGNER
    crl_partitions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePair:
    """The operator's CA: its certificate file and where its key is.

    Attributes:
        cert_path: PEM file, the CA first.
        key_ref: The path of a key file, or the reference of another signer.
        signer: The kind of that signer.
        passphrase: Of a key file.
    """

    cert_path: Path
    key_ref: str
    signer: str = FILE_SIGNER
    passphrase: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A CA certificate with its key, checked to belong together."""

    certificates: CACertificates
    key: SigningKey
    signer: str
    key_ref: str
    origin: CAOrigin

    @property
    def ca_key_id(self) -> str:
        """The id of the CA key."""
        return self.certificates.ca_key_id

    def row(self, issuer_id: str, state: CAKeyState, *, now: datetime) -> CAKeyRow:
        """The row that keeps it."""
        certificate = self.certificates.certificate
        return CAKeyRow(
            issuer_id=issuer_id,
            ca_key_id=self.ca_key_id,
            cert_pem=to_pem(certificate),
            chain_pem=self.certificates.above_pem,
            cross_pem="",
            signer=self.signer,
            key_ref=self.key_ref,
            origin=self.origin,
            state=state,
            subject=certificate.subject.rfc4514_string(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            first_seen_at=now,
            updated_at=now,
        )

    def matches(self, row: CAKeyRow) -> bool:
        """Whether the row says the same about place and certificate."""
        mine = self.row(row.issuer_id, row.state, now=row.updated_at)
        same = ("cert_pem", "chain_pem", "signer", "key_ref", "origin")
        return all(getattr(mine, name) == getattr(row, name) for name in same)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that a signer has made, and where it keeps it."""

    key: SigningKey
    signer: str
    ref: str


class Loader:
    """Reads CA files and asks signers.

    Args:
        settings: The settings of the room.
        clock: The time, for validity checks.
        signer: Kind → the configured signer of that kind, open.
        file_signer: Directory, passphrase → a ``file`` signer that reads keys below it; for the
            operator's files, which lie outside the signer's own directory.
    """

    def __init__(
        self,
        *,
        settings: AuthoritySettings,
        clock: Clock,
        signer: Callable[[str], SignerProvider],
        file_signer: Callable[[Path, Secret | None], SignerProvider],
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._find_signer = signer
        self._file_signer = file_signer

    def pair_of(self, issuer_id: str, config: LocalConfig | None) -> FilePair | None:
        """The operator's files that this issuer is to use; None = its CA is made here.

        Raises:
            CAPathsIncomplete: One path without the other (02 CA-1).
        """
        settings = self.settings
        given = settings.ca_cert_path or settings.ca_key_path
        if issuer_id == LOCAL_ISSUER_ID and given:
            if not (settings.ca_cert_path and settings.ca_key_path):
                path = str(given)
                reason = "CERTCTL_CA_CERT_PATH and CERTCTL_CA_KEY_PATH belong together"
                raise CAPathsIncomplete(path=path, reason=reason)
            key_ref = _without_library(str(settings.ca_key_path))
            return FilePair(
                cert_path=settings.ca_cert_path,
                key_ref=key_ref,
                signer=_signer_of(key_ref),
                passphrase=settings.ca_key_passphrase,
            )
        if config is None or config.ca_cert_path is None:
            return None
        if config.ca_key_path is not None:
            return FilePair(cert_path=Path(config.ca_cert_path), key_ref=str(config.ca_key_path))
        return FilePair(
            cert_path=Path(config.ca_cert_path),
            key_ref=config.ca_key_ref or "",
            signer=self._kind(config),
        )

    def from_files(self, pair: FilePair) -> Material:
        """Read and check the operator's files (02 CA-4).

        Raises:
            CAMaterialError: A leaf that names the file and the reason.
        """
        certificates = read_certificate_file(pair.cert_path)
        where, now = str(pair.cert_path), self._clock.now()
        # Once without the key, so that a wrong certificate is not blamed on the key file.
        check_certificates(certificates, cert_path=where, now=now)
        material = self._with_key(certificates, pair)
        checked = check_certificates(
            certificates,
            public_key=material.key.public_key(),
            cert_path=where,
            key_path=material.key_ref,
            now=now,
        )
        return replace(material, certificates=checked)

    def previous_of(self, issuer_id: str, pair: FilePair | None) -> list[Material]:
        """Former CAs: beside the operator's files as ``….old-rotated-*``, and of the settings.

        A bad one is logged and left out: it must not keep the current CA from signing (02 ROT-2).
        """
        found = [] if pair is None else self._renamed(pair)
        if issuer_id == LOCAL_ISSUER_ID:
            for former in self.settings.ca_previous:
                try:
                    found.append(self._former(former))
                except CAMaterialError as error:
                    _log.warning("ca_key.previous_unusable", **error.data)
        return found

    def _former(self, former: FormerCA) -> Material:
        pair = FilePair(
            cert_path=former.cert_path,
            key_ref=_without_library(former.key_ref),
            signer=_signer_of(former.key_ref),
            passphrase=self.settings.ca_key_passphrase,
        )
        return self._with_key(read_certificate_file(former.cert_path), pair)

    def _renamed(self, pair: FilePair) -> list[Material]:
        if pair.signer != FILE_SIGNER:
            return []
        found = []
        mark, key_path = pair.cert_path.name + _OLD_MARK, Path(pair.key_ref)
        for cert_path in sorted(pair.cert_path.parent.glob("*")):
            if not cert_path.name.startswith(mark):
                continue
            suffix = cert_path.name.removeprefix(pair.cert_path.name)
            old = replace(
                pair, cert_path=cert_path, key_ref=str(key_path.with_name(key_path.name + suffix))
            )
            try:
                # Neither its time nor its chain matters any more: it only vouches for the past.
                found.append(self._with_key(read_certificate_file(cert_path), old))
            except CAMaterialError as error:
                _log.warning("ca_key.previous_unusable", **error.data)
        return found

    def _with_key(self, certificates: CACertificates, pair: FilePair) -> Material:
        ref = pair.key_ref
        if pair.signer == FILE_SIGNER:
            source = self._files(Path(ref).parent, pair.passphrase)
        else:
            source = self._signer(pair.signer, ref)
        key = _load(source, ref)
        check_key_pair(certificates.certificate, key, path=ref)
        return Material(
            certificates=certificates,
            key=key,
            signer=pair.signer,
            key_ref=ref,
            origin=CAOrigin.FILE,
        )

    def from_row(self, row: CAKeyRow) -> Material:
        """Get the key of a known CA again.

        Raises:
            CAMaterialError: The key is gone, unsafe, or another one.
        """
        place = row.key_ref or row.ca_key_id
        certificates = parse_certificates((row.cert_pem + row.chain_pem).encode(), path=place)
        key = self._key_of(row)
        check_key_pair(certificates.certificate, key, path=place)
        return Material(
            certificates=certificates,
            key=key,
            signer=row.signer,
            key_ref=place,
            origin=row.origin,
        )

    def _key_of(self, row: CAKeyRow) -> SigningKey:
        place = row.key_ref or row.ca_key_id
        if row.key_ref is None:
            raise CAKeyUnavailable(path=place, reason="no key is known for this CA certificate")
        if row.origin is CAOrigin.FILE and row.signer == FILE_SIGNER:
            own = row.issuer_id == LOCAL_ISSUER_ID
            passphrase = self.settings.ca_key_passphrase if own else None
            source = self._files(Path(row.key_ref).parent, passphrase)
        else:
            source = self._signer(row.signer, place)
        return _load(source, row.key_ref)

    def _files(self, folder: Path, passphrase: Secret | None) -> GuardedSigner:
        return GuardedSigner(self._file_signer(folder, passphrase), clock=self._clock)

    def _signer(self, kind: str, place: str) -> GuardedSigner:
        try:
            return GuardedSigner(self._find_signer(kind), clock=self._clock)
        except CertctlError as error:
            raise CAKeyUnavailable(path=place, reason=error.detail.rstrip(".")) from error

    def generate_key(
        self, issuer_id: str, config: LocalConfig, algorithm: KeyAlgorithm, *, now: datetime
    ) -> NewKey:
        """Make a key for a CA whose certificate is still to come.

        Raises:
            CAKeyUnavailable: The signer cannot make the key.
        """
        kind = self._kind(config)
        hint = _hint(issuer_id, now)
        try:
            generated = self._signer(kind, f"{kind}:{hint}").generate(algorithm, hint)
        except PluginError as error:
            raise CAKeyUnavailable(path=f"{kind}:{hint}", reason=_reason(error)) from error
        return NewKey(key=generated.key, signer=kind, ref=generated.ref)

    def _kind(self, config: LocalConfig) -> str:
        if config.ephemeral:
            return MEMORY_SIGNER
        if config.ca_key_ref is not None:
            return _signer_of(config.ca_key_ref)
        return config.signer or self.settings.signer

    def load_key(self, signer: str, ref: str) -> SigningKey:
        """Get a key of a signer by its reference.

        Raises:
            CAMaterialError: It is gone, unsafe, or the signer cannot be had.
        """
        return _load(self._signer(signer, ref), ref)

    def is_at_hand(self, row: CAKeyRow) -> bool:
        """Whether the signer can give the key of the row now."""
        try:
            self.from_row(row)
        except CAMaterialError:
            return False
        return True

    def generate(self, issuer_id: str, config: LocalConfig, *, now: datetime) -> Material:
        """Make a CA: key by the signer, self-signed certificate by us (02 CA-3).

        A key that the configuration names is taken instead of a new one.

        Raises:
            CAMaterialError: The signer cannot make the key, or has not the one that is named.
        """
        if config.ca_key_ref is None:
            made = self.generate_key(issuer_id, config, config.ca_key_algorithm, now=now)
        else:
            kind = self._kind(config)
            key = self.load_key(kind, config.ca_key_ref)
            made = NewKey(key=key, signer=kind, ref=config.ca_key_ref)
        certificate = build_root(
            config.ca_common_name,
            made.key,
            serial=new_serial(),
            not_before=now - _BACKDATE,
            not_after=now + timedelta(days=config.ca_validity_days),
            signs_ocsp=self.settings.ocsp_direct_signing,
        )
        return Material(
            certificates=CACertificates(certificate=certificate),
            key=made.key,
            signer=made.signer,
            key_ref=made.ref,
            origin=CAOrigin.GENERATED,
        )

    def authority(
        self,
        row: CAKeyRow,
        config: LocalConfig,
        *,
        old: Mapping[tuple[str, str], AuthorityKey],
    ) -> AuthorityKey:
        """Make the object that signs from a row; a key that is at hand already is kept.

        A key that cannot be had leaves ``private_key`` empty and is logged once.
        """
        known = old.get((row.issuer_id, row.ca_key_id))
        certificates = parse_certificates((row.cert_pem + row.chain_pem).encode(), path="ca_keys")
        certificate, above = certificates.certificate, certificates.above
        chain = (certificate, *above)
        root = chain[-1] if is_self_issued(chain[-1]) else None
        served = [one for one in chain if one is not root or config.include_root_in_chain]
        usage = key_usage(certificate)
        return AuthorityKey(
            issuer_id=row.issuer_id,
            ca_key_id=row.ca_key_id,
            state=row.state,
            origin=row.origin,
            signer=row.signer,
            key_ref=row.key_ref,
            certificate=certificate,
            certificate_pem=row.cert_pem,
            above=above,
            chain_pem="".join(map(to_pem, served)) + self._served_cross(row),
            cross_pem=row.cross_pem,
            root_pem=None if root is None else to_pem(root),
            template=IssuerTemplate.of(certificate, above),
            urls=self._urls_of(row, config, crl=usage.may_sign_crls),
            may_sign_crls=usage.may_sign_crls,
            may_sign_ocsp=usage.may_sign_ocsp,
            first_seen_at=row.first_seen_at,
            warnings=tuple(
                finding.text for finding in check_ca(certificate, None, self._clock.now())
            )
            + self._path_warnings(row, certificates),
            member_id=row.member_id,
            private_key=self._private_key(row, known, certificate),
        )

    def _served_cross(self, row: CAKeyRow) -> str:
        """The cross certificate, as long as it lets somebody who trusts the former CA verify."""
        if not row.cross_pem or row.state is not CAKeyState.CURRENT:
            return ""
        cross = parse_certificates(row.cross_pem.encode(), path="ca_keys").certificate
        return row.cross_pem if self._clock.now() <= cross.not_valid_after_utc else ""

    def _path_warnings(self, row: CAKeyRow, certificates: CACertificates) -> tuple[str, ...]:
        """What keeps the chain of a CA in a tree from holding now (02 HIER-7)."""
        if row.member_id is None:
            return ()
        try:
            verify_upwards(certificates, path=row.member_id, now=self._clock.now())
        except CAChainBroken as error:
            return (f"Its chain does not hold: {error.data['reason']}.",)
        return ()

    def _private_key(
        self, row: CAKeyRow, known: AuthorityKey | None, certificate: x509.Certificate
    ) -> SigningKey | None:
        if row.state not in SIGNING_STATES:
            return None
        if (
            known is not None
            and known.private_key is not None
            and (known.signer, known.key_ref) == (row.signer, row.key_ref)
        ):
            return known.private_key
        try:
            key = self._key_of(row)
            check_key_pair(certificate, key, path=row.key_ref or row.ca_key_id)
        except CAMaterialError as error:
            if known is None:
                _log.warning(
                    "ca_key.not_at_hand",
                    issuer_id=row.issuer_id,
                    ca_key_id=row.ca_key_id,
                    state=row.state.value,
                    reason=error.data.get("reason"),
                )
            return None
        return key

    def _urls_of(self, row: CAKeyRow, config: LocalConfig, *, crl: bool) -> AuthorityURLs:
        # Addresses of the configuration are of the CA that issues; others have their own.
        is_apart = row.member_id is not None and row.state is not CAKeyState.CURRENT
        chosen = LocalConfig() if is_apart else config
        urls = self.urls(row.issuer_id, row.ca_key_id, chosen, crl=crl)
        return urls if not row.ocsp_url else replace(urls, ocsp=(row.ocsp_url,))

    def urls(
        self, issuer_id: str, ca_key_id: str, config: LocalConfig, *, crl: bool = True
    ) -> AuthorityURLs:
        """What certificates of a CA key point at (02 CERT-13, CERT-14).

        Args:
            issuer_id: The issuer.
            ca_key_id: Its CA key.
            config: Its configuration.
            crl: False for a CA that may not sign CRLs: the derived CRL address is left out.
        """
        base = self.settings.public_base.rstrip("/")
        pki = f"{base}/.well-known/pki" if base else ""

        def choose(given: tuple[str, ...], path: str) -> tuple[str, ...]:
            return tuple(map(str, given)) or ((pki + path,) if pki else ())

        return AuthorityURLs(
            crl=choose(config.crl_distribution_point_urls, f"/crl/{issuer_id}/{ca_key_id}")
            if crl
            else (),
            ocsp=choose(config.ocsp_urls, f"/ocsp/{issuer_id}"),
            ca_issuers=choose(config.ca_issuer_urls, f"/ca/{issuer_id}/{ca_key_id}"),
            crl_partitions=0
            if config.crl_distribution_point_urls
            else self.settings.crl_partitions,
        )


def _signer_of(key_ref: str) -> str:
    """The kind of the signer that a reference names itself; a path is a key file's."""
    return FILE_SIGNER if key_ref.startswith("/") else key_ref.partition(":")[0]


def _without_library(key_ref: str) -> str:
    """A reference that stays right when library or PIN file move: both are in the settings."""
    return key_ref.partition("?")[0] if is_pkcs11_uri(key_ref) else key_ref


def _hint(issuer_id: str, now: datetime) -> str:
    # Ids may be longer, and hold dots; the signer makes the reference unique by itself.
    word = re.sub(r"[^A-Za-z0-9_-]", "_", issuer_id)[:64].lstrip("-")
    return f"ca/{word or 'issuer'}-{now:%Y%m%d%H%M%S}"


def _load(source: GuardedSigner, ref: str) -> SigningKey:
    if "pin-value" in ref:
        reason = "it holds a PIN, which does not belong into a reference"
        raise CAKeyMalformed(path=ref.partition("?")[0], reason=reason)
    try:
        return source.load(ref)
    except KeyUnsafe as error:
        raise CAKeyPermissions(path=ref, reason=_reason(error)) from error
    except KeyNotFound as error:
        raise CAFileUnreadable(path=ref, reason="there is no such key") from error
    except (KeyRefInvalid, KeyRejectedBySigner) as error:
        raise CAKeyMalformed(path=ref, reason=_reason(error)) from error
    except PluginError as error:
        raise CAKeyUnavailable(path=ref, reason=_reason(error)) from error


def _reason(error: PluginError) -> str:
    return str(error.data.get("reason") or error.detail).rstrip(".")
