"""What can be wrong with a CA of a tree, or with what is asked of it (02 §9).

::

    IntermediateNotFound       404
    HierarchyRefused           400  base: a rule of the tree forbids the certificate
    ├── RootRejected · CACertificateRejected · CertificateOfOtherKey · CAKeyRefused
    └── PathLengthNotAllowed · ConstraintsNotAllowed · CASubjectRejected
    CANameTaken · CAKeyInUse · ActiveRootExists        409
    ParentNotActive · CAStateWrong · ChildrenNotRetired · CAStillIssues  409
"""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Invalid, NotFound


class IntermediateNotFound(NotFound):
    """There is no CA of that id, or it belongs to another issuer; data: ``intermediate_id``."""

    code = "intermediate_ca_not_found"
    text = "There is no CA {intermediate_id} in this tree."


class HierarchyRefused(Invalid):
    """Base: a rule of the tree forbids the certificate; data: ``reason``."""

    code = "ca_refused"
    text = "The CA is refused: {reason}."
    members = ("reason",)


class RootRejected(HierarchyRefused):
    """The certificate cannot be the root of a tree (02 HIER-1)."""

    code = "root_ca_rejected"
    text = "The certificate cannot be the root of a tree: {reason}."


class CACertificateRejected(HierarchyRefused):
    """The certificate cannot be the one of this CA (02 HIER-7)."""

    code = "ca_certificate_rejected"
    text = "The certificate cannot be used for this CA: {reason}."


class CertificateOfOtherKey(HierarchyRefused):
    """The certificate holds another public key than the one it is meant for."""

    code = "ca_certificate_key_mismatch"
    text = "The certificate holds another key: {reason}."
    hint = "Compare the key ids: 'certctl ca show' gives the one that is expected."


class CAKeyRefused(HierarchyRefused):
    """No signer gives the key that ``key_driver_id`` names."""

    code = "ca_key_refused"
    text = "The key cannot be used for this CA: {reason}."
    hint = "Write signer:reference, such as file:ca/root.key, or the key id of a CA key."


class PathLengthNotAllowed(HierarchyRefused):
    """The path lengths above leave no room (02 HIER-2, RFC 5280 §4.2.1.9)."""

    code = "path_length_not_allowed"
    text = "The path length does not allow this CA: {reason}."


class ConstraintsNotAllowed(HierarchyRefused):
    """The name constraints are wider than those above (02 HIER-3, RFC 5280 §4.2.1.10)."""

    code = "name_constraints_not_allowed"
    text = "The name constraints are not allowed: {reason}."


class CASubjectRejected(HierarchyRefused):
    """The subject is malformed, or taken by a CA above."""

    code = "ca_subject_rejected"
    text = "The subject of the CA is not allowed: {reason}."


class CANameTaken(Conflict):
    """Another CA of the issuer has the name; data: ``name``."""

    code = "ca_name_taken"
    text = "There is already a CA named '{name}' in this tree."


class CAKeyInUse(Conflict):
    """The key belongs to another CA of the tree, or is out of service; data: ``ca_key_id``."""

    code = "ca_key_in_use"
    text = "The key {ca_key_id} cannot be used for this CA: {reason}."


class ActiveRootExists(Conflict):
    """A tree has one active root; data: ``issuer_id``."""

    code = "active_root_exists"
    text = "Issuer {issuer_id} has an active root already."
    hint = "Retire it first."


class ParentNotActive(Conflict):
    """The parent does not take new CAs; data: ``parent_ca_id``, ``reason``."""

    code = "parent_ca_not_active"
    text = "The CA {parent_ca_id} takes no new CA below it: {reason}."


class CAStateWrong(Conflict):
    """The state of the CA does not allow this; data: ``intermediate_id``, ``state``."""

    code = "ca_wrong_state"
    text = "The CA {intermediate_id} is {state}, which does not allow this."


class ChildrenNotRetired(Conflict):
    """CAs below are still in use; data: ``intermediate_id``, ``children``."""

    code = "ca_has_children"
    text = "The CA {intermediate_id} has {children} CAs below it that are not retired."
    hint = "Retire those first, from the bottom up."


class CAStillIssues(Conflict):
    """The CA is the issuer's issuing CA; data: ``intermediate_id``, ``issuer_id``."""

    code = "ca_still_issues"
    text = "The CA {intermediate_id} is the issuing CA of {issuer_id}."
    hint = "Choose another issuing_ca_id for the issuer first."
