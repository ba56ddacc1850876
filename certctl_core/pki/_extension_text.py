"""Certificate extensions in words, for people."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509

from certctl_core.pki._ekus import eku_name

_NAMES = {
    "2.5.29.9": "subjectDirectoryAttributes",
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.16": "privateKeyUsagePeriod",
    "2.5.29.17": "subjectAltName",
    "2.5.29.18": "issuerAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.30": "nameConstraints",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.33": "policyMappings",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.36": "policyConstraints",
    "2.5.29.37": "extKeyUsage",
    "2.5.29.46": "freshestCRL",
    "2.5.29.54": "inhibitAnyPolicy",
    "2.5.29.56": "noRevAvail",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "1.3.6.1.5.5.7.1.11": "subjectInfoAccess",
    "1.3.6.1.5.5.7.1.24": "tlsFeature",
    "1.3.6.1.5.5.7.48.1.5": "ocspNoCheck",
    "1.3.6.1.4.1.311.20.2": "certificateTemplateName",
    "1.3.6.1.4.1.311.21.7": "certificateTemplate",
    "1.3.6.1.4.1.11129.2.4.2": "signedCertificateTimestampList",
    "1.3.6.1.4.1.11129.2.4.3": "precertificatePoison",
    "2.16.840.1.113730.1.13": "netscapeComment",
}
_METHODS = {
    "1.3.6.1.5.5.7.48.1": "OCSP",
    "1.3.6.1.5.5.7.48.2": "caIssuers",
}
_MAX_HEX = 64


def extension_name(dotted: str) -> str:
    """Give the RFC's name of an extension, or the OID where it has none here."""
    return _NAMES.get(dotted, dotted)


def key_usage_names(usage: x509.KeyUsage) -> tuple[str, ...]:
    """Give the RFC 5280 names of the bits that are set, in the order of the bits."""
    bits = [
        ("digitalSignature", usage.digital_signature),
        ("nonRepudiation", usage.content_commitment),
        ("keyEncipherment", usage.key_encipherment),
        ("dataEncipherment", usage.data_encipherment),
        ("keyAgreement", usage.key_agreement),
        ("keyCertSign", usage.key_cert_sign),
        ("cRLSign", usage.crl_sign),
    ]
    if usage.key_agreement:
        # The library raises on these two without keyAgreement, where they mean nothing.
        bits += [("encipherOnly", usage.encipher_only), ("decipherOnly", usage.decipher_only)]
    return tuple(name for name, is_set in bits if is_set)


def general_name_text(name: x509.GeneralName) -> str:
    """Write a GeneralName as ``DNS:…``, ``IP:…``, ``email:…``, ``URI:…``, ``DirName:…`` …."""
    if isinstance(name, x509.DirectoryName):
        return "DirName:" + name.value.rfc4514_string()
    if isinstance(name, x509.OtherName):
        return f"otherName:{name.type_id.dotted_string}"
    if isinstance(name, x509.RegisteredID):
        return "RID:" + name.value.dotted_string
    for kind, label in (
        (x509.DNSName, "DNS"),
        (x509.RFC822Name, "email"),
        (x509.UniformResourceIdentifier, "URI"),
    ):
        if isinstance(name, kind):
            return f"{label}:{name.value}"
    return f"IP:{name.value}"


def extension_text(value: x509.ExtensionType) -> str:
    """Write an extension's value on one line."""
    if isinstance(value, x509.SubjectAlternativeName | x509.IssuerAlternativeName):
        return _join(general_name_text(name) for name in value)
    if isinstance(value, x509.KeyUsage):
        return _join(key_usage_names(value))
    if isinstance(value, x509.ExtendedKeyUsage):
        return _join(eku_name(oid.dotted_string) for oid in value)
    if isinstance(value, x509.BasicConstraints):
        limit = "" if value.path_length is None else f", pathlen:{value.path_length}"
        return f"CA:{'TRUE' if value.ca else 'FALSE'}{limit}"
    if isinstance(value, x509.SubjectKeyIdentifier):
        return value.digest.hex(":")
    if isinstance(value, x509.AuthorityKeyIdentifier):
        return _authority(value)
    if isinstance(value, x509.CRLDistributionPoints | x509.FreshestCRL):
        return _join(general_name_text(n) for point in value for n in point.full_name or ())
    if isinstance(value, x509.AuthorityInformationAccess | x509.SubjectInformationAccess):
        return _join(
            f"{_METHODS.get(entry.access_method.dotted_string, entry.access_method.dotted_string)}"
            f" {general_name_text(entry.access_location)}"
            for entry in value
        )
    return _rare_text(value)


def _rare_text(value: x509.ExtensionType) -> str:
    if isinstance(value, x509.NameConstraints):
        trees = [f"permitted {general_name_text(n)}" for n in value.permitted_subtrees or ()]
        trees += [f"excluded {general_name_text(n)}" for n in value.excluded_subtrees or ()]
        return _join(trees)
    if isinstance(value, x509.CertificatePolicies):
        return _join(policy.policy_identifier.dotted_string for policy in value)
    if isinstance(value, x509.TLSFeature):
        return _join(feature.name for feature in value)
    if isinstance(value, x509.OCSPNoCheck | x509.PrecertPoison):
        return "present"
    if isinstance(value, x509.InhibitAnyPolicy):
        return f"skip {value.skip_certs}"
    if isinstance(
        value,
        x509.PrecertificateSignedCertificateTimestamps | x509.SignedCertificateTimestamps,
    ):
        return f"{len(list(value))} timestamps"
    raw = value.value if isinstance(value, x509.UnrecognizedExtension) else value.public_bytes()
    shown = raw[:_MAX_HEX].hex()
    return shown if len(raw) <= _MAX_HEX else f"{shown}… ({len(raw)} bytes)"


def _authority(value: x509.AuthorityKeyIdentifier) -> str:
    parts = []
    if value.key_identifier is not None:
        parts.append(value.key_identifier.hex(":"))
    parts += [general_name_text(name) for name in value.authority_cert_issuer or ()]
    if value.authority_cert_serial_number is not None:
        parts.append(f"serial {value.authority_cert_serial_number:x}")
    return _join(parts)


def _join(parts: Iterable[str]) -> str:
    return ", ".join(parts)
