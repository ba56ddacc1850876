"""Certificates, issuers, profiles, renewal policies, revocation lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from certctl_client.calls import Collection, Configured, Documents, Group, Page, editable

if TYPE_CHECKING:
    from certctl_client.types import (
        BlockedKey,
        BlockedKeyList,
        BulkRevocation,
        CAChain,
        CAKey,
        Certificate,
        CertificateCreated,
        CertificateDetails,
        Compromised,
        CRLCache,
        CRLCheck,
        Deploy,
        Deployment,
        ImportedCertificates,
        ImportedCRL,
        Issuer,
        OCSPCheck,
        OCSPState,
        PEMExport,
        Profile,
        ProfilePreview,
        Purged,
        Regenerated,
        Renewal,
        RenewalPolicy,
        RenewalsPlanned,
        Report,
        RetiredCA,
        Revocation,
        Rotated,
        RotatedCA,
        TrustBundle,
        TrustReloaded,
        Unhold,
        Version,
    )


class Certificates(Collection["Certificate"]):
    """Managed certificates."""

    NAME = "certificates"
    PARAMETER = "certificate_id"

    def create(
        self,
        *,
        common_name: str | None = None,
        sans: Sequence[str] = (),
        name: str | None = None,
        csr_pem: str | None = None,
        issuer_id: str | None = None,
        certificate_profile_id: str | None = None,
        renewal_policy_id: str | None = None,
        environment: str = "",
        tags: Mapping[str, str] | None = None,
        managed_renewal: bool = True,
    ) -> CertificateCreated:
        """Create a managed certificate; with a CSR it is issued by this very call.

        Args:
            common_name: Host name, IP address or mail address; the CSR's when None.
            sans: Further names, of any kind; the CSR's when empty.
            name: Unique label; made from the common name when None.
            csr_pem: PKCS#10 in PEM.
            issuer_id: Who issues; the default issuer when None.
            certificate_profile_id: What may be issued; the default profile when None.
            renewal_policy_id: When it is renewed; the default policy when None.
            environment: Free text.
            tags: Free key-value pairs.
            managed_renewal: False when the holder of the key renews by itself.

        Returns:
            The certificate; ``issued`` holds the version and its PEM when a CSR came along.

        Raises:
            APIError: ``certificate_name_taken``, ``csr_rejected``, ``approval_required`` …
        """
        body = {
            "name": name,
            "common_name": common_name,
            "sans": list(sans),
            "csr_pem": csr_pem,
            "issuer_id": issuer_id,
            "certificate_profile_id": certificate_profile_id,
            "renewal_policy_id": renewal_policy_id,
            "environment": environment,
            "tags": dict(tags or {}),
            "managed_renewal": managed_renewal,
        }
        return cast("CertificateCreated", self._create(body))

    def find(self, name: str) -> Certificate | None:
        """The certificate with exactly this name (its label, not its common name), if any."""
        rows = self.each(q=name, include_archived=False)
        return next((row for row in rows if row["name"] == name), None)

    def update(
        self, certificate_id: str, changes: Mapping[str, object], *, version: int | None = None
    ) -> Certificate:
        """Change members; ``version`` makes the change conditional on it (412 otherwise)."""
        return cast("Certificate", self._update(certificate_id, changes, version))

    def renew(
        self, certificate_id: str, *, csr_pem: str | None = None, force: bool = False
    ) -> Renewal:
        """Renew: at once from a CSR, else by jobs of the agents that hold the key.

        Raises:
            APIError: ``no_key_holder`` without a CSR and an agent, ``renewal_in_progress`` …
        """
        body = {"csr_pem": csr_pem, "force": force}
        return cast("Renewal", self._one("renew", certificate_id, body=body))

    def revoke(
        self,
        certificate_id: str,
        *,
        reason: str,
        scope: str | None = None,
        serial: str | None = None,
        invalidity_date: str | None = None,
    ) -> Revocation:
        """Revoke; RFC 5280 §5.3.1 gives the reasons.

        Args:
            certificate_id: Which.
            reason: ``keyCompromise`` …
            scope: ``current`` or ``all_unexpired`` versions.
            serial: Only the version with this serial number.
            invalidity_date: RFC 3339; since when the key is thought to be unusable.
        """
        body = {
            "reason": reason,
            "scope": scope,
            "serial": serial,
            "invalidity_date": invalidity_date,
        }
        return cast("Revocation", self._one("revoke", certificate_id, body=body))

    def bulk_revoke(
        self,
        *,
        reason: str,
        criteria: Mapping[str, object],
        dry_run: bool = False,
        expected_count: int | None = None,
    ) -> BulkRevocation:
        """Revoke all certificates that match; the same call again goes on where one stopped.

        Args:
            reason: ``superseded`` …
            criteria: What they have in common: ``certificate_ids``, ``profile_id``,
                ``issuer_id``, ``agent_id``, ``ca_key_id``, ``spki_sha256``, ``source``.
            dry_run: Only count.
            expected_count: Refuse when another number matches.

        Raises:
            APIError: ``expected_count_mismatch`` …
        """
        body = {
            **criteria,
            "reason": reason,
            "dry_run": dry_run,
            "expected_count": expected_count,
        }
        return cast("BulkRevocation", self._calls.call("certificates.bulk_revoke", body=body))

    def unhold(self, certificate_id: str) -> Unhold:
        """Release a certificate from ``certificateHold``."""
        return cast("Unhold", self._one("unhold", certificate_id))

    def deploy(
        self, certificate_id: str, *, target_id: str | None = None, force: bool = False
    ) -> Deploy:
        """Deploy the current version by the agents, to one linked target or to all of them.

        Args:
            certificate_id: Which.
            target_id: One target; all when None.
            force: Also where the target has it already.
        """
        body = {"target_id": target_id, "force": force}
        return cast("Deploy", self._one("deploy", certificate_id, body=body))

    def deployments(
        self, certificate_id: str, *, cursor: str | None = None, page_size: int = 100
    ) -> Page[Deployment]:
        """One page of the attempts to deploy it, newest first."""
        return self._calls.page(
            "certificates.deployments",
            path={"certificate_id": certificate_id},
            cursor=cursor,
            page_size=page_size,
        )

    def archive(self, certificate_id: str) -> None:
        """Archive: it leaves the lists, its history stays."""
        self._one("archive", certificate_id)

    def versions(
        self, certificate_id: str, *, cursor: str | None = None, page_size: int = 100
    ) -> Page[Version]:
        """One page of what was issued, newest first."""
        return self._calls.page(
            "certificates.versions",
            path={"certificate_id": certificate_id},
            cursor=cursor,
            page_size=page_size,
        )

    def details(self, certificate_id: str) -> CertificateDetails:
        """What stands in the current certificate and its chain."""
        return cast("CertificateDetails", self._one("details", certificate_id))

    def download(self, certificate_id: str, *, version_id: str | None = None) -> PEMExport:
        """The current certificate (or an older version) with its chain in PEM."""
        query = {"version_id": version_id}
        return cast("PEMExport", self._one("download", certificate_id, query=query))


class Issuers(Configured["Issuer", "Issuer"]):
    """Configured issuers."""

    NAME = "issuers"
    PARAMETER = "issuer_id"

    def ca_keys(self, issuer_id: str) -> list[CAKey]:
        """The CA keys that the server holds for this issuer."""
        return cast("list[CAKey]", self._one("ca_keys", issuer_id)["data"])

    def ca_chain(self, issuer_id: str) -> CAChain:
        """Its CA certificates in PEM, the issuing one first."""
        return cast("CAChain", self._one("ca_chain", issuer_id))

    def delete(self, issuer_id: str) -> None:
        """Delete an issuer that nothing refers to."""
        self._one("delete", issuer_id)

    def test(self, issuer_id: str) -> Report:
        """Let the server check that the issuer can be used."""
        return cast("Report", self._one("test", issuer_id))


class Profiles(Documents["Profile"]):
    """Certificate profiles: what may be issued."""

    NAME = "profiles"
    PARAMETER = "profile_id"

    def preview(
        self,
        profile: Mapping[str, object],
        *,
        issuer_id: str | None = None,
        names: Sequence[str] = (),
        subject: str | None = None,
        key_algorithm: str | None = None,
    ) -> ProfilePreview:
        """Say what a profile leads to, and show a sample of it; nothing is stored.

        Args:
            profile: The members of a profile, or one as ``get`` gives it.
            issuer_id: Who would issue; the built-in authority when not given.
            names: Of the sample, up to 20.
            subject: Of the sample's CSR, RFC 4514; its common name is the first of the names.
            key_algorithm: Of the sample's key; the first that is allowed when not given.

        Raises:
            APIError: ``validation_error``, ``issuer_not_found`` …
        """
        body: dict[str, object] = {"profile": editable(profile)}
        if issuer_id is not None:
            body["issuer_id"] = issuer_id
        if names:
            body["names"] = list(names)
        if subject is not None:
            body["subject"] = subject
        if key_algorithm is not None:
            body["key_algorithm"] = key_algorithm
        return cast("ProfilePreview", self._calls.call("profiles.preview", body=body))


class BlockedKeys(Collection["BlockedKey"]):
    """Public keys that are never certified."""

    NAME = "blocked_keys"
    PARAMETER = "digest"

    def block(
        self,
        *,
        spki_sha256: str | None = None,
        certificate_pem: str | None = None,
        csr_pem: str | None = None,
        public_key_pem: str | None = None,
        note: str = "",
    ) -> BlockedKey:
        """Block a key, named in one of four forms.

        Raises:
            APIError: ``key_blocked_already``, ``no_key_given`` …
        """
        body = {
            "spki_sha256": spki_sha256,
            "certificate_pem": certificate_pem,
            "csr_pem": csr_pem,
            "public_key_pem": public_key_pem,
            "note": note,
        }
        return cast("BlockedKey", self._calls.call("blocked_keys.create", body=body))

    def unblock(self, spki_sha256: str) -> None:
        """Let a key be certified again."""
        self._one("delete", spki_sha256)


class BlockedKeyLists(Collection["BlockedKeyList"]):
    """Lists of known-weak keys; none of them is certified."""

    NAME = "blocked_key_lists"
    PARAMETER = "name"

    def create(self, *, name: str, mark: str, note: str = "") -> BlockedKeyList:
        """Begin an empty list.

        Args:
            name: Its name.
            mark: ``spki-sha256``, ``openssl-blacklist`` or ``badkeys``.
            note: Where it is from.

        Raises:
            APIError: ``key_list_taken`` …
        """
        body = {"name": name, "mark": mark, "note": note}
        return cast("BlockedKeyList", self._create(body))

    def add(self, name: str, digests: str) -> BlockedKeyList:
        """Add digests: base64 of up to 720,000 bytes, end to end."""
        return cast("BlockedKeyList", self._one("add", name, body={"digests": digests}))

    def delete(self, name: str) -> None:
        """Delete a list: its keys can be certified again."""
        self._one("delete", name)


class TrustBundles(Group):
    """Files of CA certificates that the server trusts."""

    def show(self) -> list[TrustBundle]:
        """All of them with their certificates."""
        return cast("list[TrustBundle]", self._calls.call("trust_bundles.show")["data"])

    def reload(self, name: str) -> TrustReloaded:
        """Read one again.

        Raises:
            APIError: ``expired_cert``, ``empty_bundle`` …; what was in force stays.
        """
        answer = self._calls.call("trust_bundles.reload", path={"name": name})
        return cast("TrustReloaded", answer)


class RenewalPolicies(Documents["RenewalPolicy"]):
    """Renewal policies: when certificates renew."""

    NAME = "renewal_policies"
    PARAMETER = "renewal_policy_id"


class CAs(Group):
    """The CA keys of the server: their rotation and their end."""

    def rotate(
        self,
        issuer_id: str,
        *,
        common_name: str | None = None,
        algorithm: str | None = None,
        validity_days: int | None = None,
        cross_sign: bool = True,
    ) -> RotatedCA:
        """Make a new CA key that issues from now on.

        Args:
            issuer_id: Whose.
            common_name: Of the new CA; the configured one with a number when None.
            algorithm: Of its key, as ``ECDSA-P256``; the configured one when None.
            validity_days: Its lifetime; the configured one when None.
            cross_sign: Whether the two CAs certify each other's key.

        Raises:
            APIError: ``ca_key_in_files`` …
        """
        body = {
            "common_name": common_name,
            "algorithm": algorithm,
            "validity_days": validity_days,
            "cross_sign": cross_sign,
        }
        answer = self._calls.call("ca.rotate", path={"issuer_id": issuer_id}, body=body)
        return cast("RotatedCA", answer)

    def mark_compromised(
        self, issuer_id: str, ca_key_id: str, *, note: str = "", renew: bool = False
    ) -> Compromised:
        """Take a stolen key out of service; ``renew`` also renews what it signed."""
        path = {"issuer_id": issuer_id, "ca_key_id": ca_key_id}
        body = {"note": note, "renew": renew}
        answer = self._calls.call("ca.mark_compromised", path=path, body=body)
        return cast("Compromised", answer)

    def retire(self, issuer_id: str, ca_key_id: str) -> RetiredCA:
        """Take a former key out of service whose certificates have all expired."""
        path = {"issuer_id": issuer_id, "ca_key_id": ca_key_id}
        return cast("RetiredCA", self._calls.call("ca.retire", path=path))

    def renew_certificates(self, issuer_id: str, ca_key_id: str) -> RenewalsPlanned:
        """Renew everything that a key signed, at the scheduler's pace."""
        path = {"issuer_id": issuer_id, "ca_key_id": ca_key_id}
        return cast("RenewalsPlanned", self._calls.call("ca.renew_certificates", path=path))


class Recovery(Group):
    """What comes back into a restored database."""

    def import_crl(self, crl: str) -> ImportedCRL:
        """Add the revocations of a CRL (PEM, or base64 of DER) that the database lacks."""
        return cast("ImportedCRL", self._calls.call("dr.import_crl", body={"crl": crl}))

    def import_certificates(self, pem: str) -> ImportedCertificates:
        """Add certificates of the server's CA keys to its ledger."""
        answer = self._calls.call("dr.import_certificates", body={"certificates": pem})
        return cast("ImportedCertificates", answer)


class CRLs(Group):
    """The revocation lists that the server signs."""

    def state(self) -> CRLCache:
        """The list of every CA key: number, age, last attempts."""
        return cast("CRLCache", self._calls.call("crl.state"))

    def check(self, certificate_id: str) -> CRLCheck:
        """What the published list says of a certificate now."""
        answer = self._calls.call("crl.check", path={"certificate_id": certificate_id})
        return cast("CRLCheck", answer)

    def regenerate(self, issuer_id: str) -> Regenerated:
        """Sign new lists at once."""
        answer = self._calls.call("crl.regenerate", path={"issuer_id": issuer_id})
        return cast("Regenerated", answer)


class OCSP(Group):
    """The OCSP service of the server."""

    def state(self) -> OCSPState:
        """The responder of every CA key, and how many answers are stored."""
        return cast("OCSPState", self._calls.call("ocsp.state"))

    def check(self, certificate_id: str) -> OCSPCheck:
        """What OCSP says of a certificate now."""
        answer = self._calls.call("ocsp.check", path={"certificate_id": certificate_id})
        return cast("OCSPCheck", answer)

    def rotate(self, issuer_id: str) -> Rotated:
        """Replace the responders of an issuer at once."""
        answer = self._calls.call("ocsp.rotate", path={"issuer_id": issuer_id})
        return cast("Rotated", answer)

    def purge(self, *, issuer_id: str | None = None, serial: str | None = None) -> Purged:
        """Delete stored answers: all, of one issuer, about one serial number."""
        body = {"issuer_id": issuer_id, "serial": serial}
        answer = self._calls.call("ocsp.purge", body=body)
        return cast("Purged", answer)
