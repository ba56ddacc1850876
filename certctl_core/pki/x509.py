"""Certification requests and certificates: read, build, describe.

The public surface; the work is done in private modules by subject.
"""

from __future__ import annotations

from certctl_core.pki._build import (
    IssuerTemplate,
    LeafDraft,
    LeafSpec,
    build_leaf,
    draft_leaf,
    leaf_der,
)
from certctl_core.pki._build_ca import (
    build_ca_request,
    build_responder,
    build_root,
    build_sub_ca,
)
from certctl_core.pki._csr import MAX_CSR_BYTES, CSRInfo, parse_csr
from certctl_core.pki._describe import (
    CertificateInfo,
    ExtensionInfo,
    describe,
    fingerprint_sha256,
    parse_certificate,
    split_pem,
    to_pem,
)
from certctl_core.pki._ekus import DEFAULT_EKUS, EKU_OIDS, eku_name, eku_oid
from certctl_core.pki._extension_text import key_usage_names
from certctl_core.pki._subjects import (
    SUBJECT_OIDS,
    attribute_label,
    known_attribute,
    parse_attributes,
    subject_name,
    subject_oid,
)
from certctl_core.pki._subjects import check_value as check_subject_value

__all__ = [
    "DEFAULT_EKUS",
    "EKU_OIDS",
    "MAX_CSR_BYTES",
    "SUBJECT_OIDS",
    "CSRInfo",
    "CertificateInfo",
    "ExtensionInfo",
    "IssuerTemplate",
    "LeafDraft",
    "LeafSpec",
    "attribute_label",
    "build_ca_request",
    "build_leaf",
    "build_responder",
    "build_root",
    "build_sub_ca",
    "check_subject_value",
    "describe",
    "draft_leaf",
    "eku_name",
    "eku_oid",
    "fingerprint_sha256",
    "key_usage_names",
    "known_attribute",
    "leaf_der",
    "parse_attributes",
    "parse_certificate",
    "parse_csr",
    "split_pem",
    "subject_name",
    "subject_oid",
    "to_pem",
]
