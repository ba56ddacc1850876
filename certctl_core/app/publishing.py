"""What the CAs of an installation publish, wired: CRLs, OCSP, the public paths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.db import ChangeFeed, UnitOfWorkFactory, Uow
from certctl_core.kernel.net import client_ip
from certctl_core.kernel.observability import counter
from certctl_core.kernel.secrets import Keyring
from certctl_core.lifecycle.authorities import AuthorityService, GuardedSigner
from certctl_core.lifecycle.certificates import CertificateService
from certctl_core.lifecycle.revocation import (
    CRLChecker,
    CRLService,
    CRLSettings,
    KeyPlaces,
    OCSPAdmin,
    OCSPService,
    OCSPSettings,
    Presigner,
    PublicPKI,
    PublishingAdmin,
    ResponderService,
    ResponseCache,
)

_OCSP_COUNTER = counter("certctl_ocsp_counter_total", "OCSP requests and answers.", ("label",))
_CRL_COUNTER = counter("certctl_crl_generation_total", "CRL generations.", ("issuer_id", "result"))


class Publishing:
    """The services that publish, by name.

    Args:
        settings: The settings.
        clock: The time.
        units: Opens transactions.
        feed: Tells what has changed.
        keyring: Seals the keys of responders that lie in the database.
        authorities: The CA keys.
        certificates: The managed certificates.
        responses: Signed OCSP answers.
        signer: Kind → the guarded signer of that kind.
        living: The servers that are alive, by id and host.
        is_published: Whether a CA of ours stands behind an issuer id; None for an unknown one.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        units: UnitOfWorkFactory,
        feed: ChangeFeed,
        keyring: Keyring,
        authorities: AuthorityService,
        certificates: CertificateService,
        responses: ResponseCache,
        signer: Callable[[str], GuardedSigner],
        living: Callable[[Uow], dict[str, str]],
        is_published: Callable[[str], bool | None],
    ) -> None:
        ocsp_signer = settings.signers.ocsp
        in_files = (ocsp_signer or settings.ocsp.responder_key_store) == "file"
        self.crls = CRLService(
            units=units,
            authorities=authorities,
            settings=CRLSettings(
                validity=settings.crl.validity,
                keep_events=settings.retention.crl_events,
                partitions=settings.crl.partitions,
                delta_above=settings.crl.delta_above,
                export_dir=settings.crl.export_dir,
            ),
        )
        self.crls.on_generated = _count_crl
        self.responders = ResponderService(
            units=units,
            authorities=authorities,
            keyring=keyring,
            key_dir=settings.ocsp.responder_key_dir if in_files else None,
            validity=settings.ocsp.responder_validity,
            grace=settings.ocsp.responder_rotation_grace,
            signer=(
                None
                if ocsp_signer is None or ocsp_signer == "file"
                else partial(signer, ocsp_signer)
            ),
        )
        self.key_places = KeyPlaces(
            units=units,
            key_dir=settings.ocsp.responder_key_dir if in_files else None,
            living=living,
        )
        self.responders.on_rotated = lambda _issuer_id: count_ocsp("responder_rotated")
        feed.subscribe("pki", self.responders.forget)
        self.ocsp = OCSPService(
            units=units,
            authorities=authorities,
            responders=self.responders,
            cache=responses,
            settings=OCSPSettings(
                validity=settings.ocsp.response_validity,
                http_max_age=settings.ocsp.http_max_age,
                nonce_max=settings.ocsp.nonce_max,
                direct_signing=settings.ocsp.direct_signing,
            ),
        )
        self.ocsp.count = count_ocsp
        self.presigner = Presigner(
            units=units,
            authorities=authorities,
            ocsp=self.ocsp,
            cache=responses,
        )
        self.publishing = PublishingAdmin(
            units=units,
            authorities=authorities,
            crls=self.crls,
        )
        self.crl_checker = CRLChecker(
            authorities=authorities,
            certificates=certificates,
            crls=self.crls,
        )
        self.ocsp_admin = OCSPAdmin(
            clock=clock,
            authorities=authorities,
            certificates=certificates,
            responders=self.responders,
            ocsp=self.ocsp,
            responses=responses,
            is_direct=settings.ocsp.direct_signing,
        )
        trusted = settings.server.trusted_proxies
        self.pki = PublicPKI(
            clock=clock,
            feed=feed,
            authorities=authorities,
            crls=self.crls,
            ocsp=self.ocsp,
            is_published=is_published,
            crl_interval=settings.scheduler.crl_interval,
            ocsp_per_minute=settings.ocsp.rate_limit_per_ip_minute,
            shared_limits=settings.data_dir / "ocsp-limits",
            client_ip=lambda peer, forwarded: client_ip(peer, forwarded, trusted),
        )


_ocsp_counts: dict[tuple[str, ...], Callable[[], None]] = {}


def count_ocsp(*labels: str) -> None:
    """Count what happened to an OCSP request (02 OPS-1); the labels of one come together."""
    increase = _ocsp_counts.get(labels)
    if increase is None:
        increase = _OCSP_COUNTER.together(*((label,) for label in labels))
        _ocsp_counts[labels] = increase
    increase()


def count_invalidated(gone: int) -> None:
    """Count stored OCSP answers that a revocation made untrue (02 OPS-1)."""
    _OCSP_COUNTER.labels("cache_invalidated").inc(gone)


def _count_crl(issuer_id: str, ok: bool) -> None:  # noqa: FBT001 - a callback of two words
    _CRL_COUNTER.labels(issuer_id, "success" if ok else "failure").inc()
