"""The rules between a CA and those above it (02 HIER-1 … HIER-4), as pure decisions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from cryptography import x509

from certctl_core.lifecycle.hierarchy.errors import (
    CACertificateRejected,
    CASubjectRejected,
    ConstraintsNotAllowed,
    PathLengthNotAllowed,
    RootRejected,
)
from certctl_core.lifecycle.hierarchy.types import CANode, CAPlan, CAWish
from certctl_core.pki import chain
from certctl_core.pki.errors import ChainError, NameRejected
from certctl_core.pki.lint import Severity
from certctl_core.pki.subtrees import (
    combine,
    constraints_of,
    find_violation,
    parse_subtree,
    subtree_text,
)
from certctl_core.pki.x509 import subject_name

BACKDATE = timedelta(seconds=60)
"""``notBefore`` lies this far back, for clients whose clock is slow."""


def check_root(certificate: x509.Certificate, *, now: datetime) -> None:
    """Refuse what cannot be the root of a tree (HIER-1).

    Raises:
        RootRejected: No CA, not self-signed, not valid now, or its keyUsage forbids signing.
    """
    if certificate.subject != certificate.issuer:
        raise RootRejected(reason="subject and issuer are two names")
    for finding in chain.check_ca(certificate, None, now):
        if finding.severity is Severity.ERROR:
            raise RootRejected(reason=finding.text.rstrip("."))
    if not chain.is_self_signed(certificate):
        raise RootRejected(reason="the self-signature does not verify")


def path_length_of(certificate: x509.Certificate) -> int | None:
    """The path length that a CA certificate carries itself."""
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return None
    return basic.value.path_length


def room_below(path: Sequence[x509.Certificate]) -> int | None:
    """How many CAs may follow below the first certificate of a path; None for no limit.

    A limit further up counts the CAs between (RFC 5280 §4.2.1.9).
    """
    limits = [
        length - position
        for position, certificate in enumerate(path)
        if (length := path_length_of(certificate)) is not None
    ]
    return min(limits, default=None)


def child_path_length(path: Sequence[x509.Certificate], wanted: int | None) -> int | None:
    """The path length of a new CA below ``path`` (HIER-2).

    Raises:
        PathLengthNotAllowed: There is no room for a CA, or the wish is not smaller than the room.
    """
    room = room_below(path)
    if room is None:
        return wanted
    if room <= 0:
        raise PathLengthNotAllowed(reason="no CA may stand below the parent (path length 0)")
    if wanted is not None and wanted >= room:
        reason = f"it must be smaller than {room}, the one of the parent"
        raise PathLengthNotAllowed(reason=reason)
    return room - 1 if wanted is None else wanted


def child_constraints(
    path: Sequence[x509.Certificate], permitted: Iterable[str], excluded: Iterable[str]
) -> x509.NameConstraints | None:
    """The name constraints of a new CA below ``path`` (HIER-3).

    Raises:
        ConstraintsNotAllowed: Malformed, or wider than those above.
    """
    above = [found for one in path if (found := constraints_of(one)) is not None]
    try:
        return combine(
            above,
            permitted=[parse_subtree(text) for text in permitted],
            excluded=[parse_subtree(text) for text in excluded],
        )
    except NameRejected as error:
        raise ConstraintsNotAllowed(reason=error.detail.rstrip(".")) from error


def constraint_texts(constraints: x509.NameConstraints | None) -> list[dict[str, list[str]]]:
    """Name constraints as the API shows them."""
    if constraints is None:
        return []
    return [
        {
            "permitted": [subtree_text(tree) for tree in constraints.permitted_subtrees or ()],
            "excluded": [subtree_text(tree) for tree in constraints.excluded_subtrees or ()],
        }
    ]


def child_subject(path: Sequence[x509.Certificate], wish: CAWish) -> x509.Name:
    """The subject of a new CA: well-formed, its own, and within the constraints above.

    Raises:
        CASubjectRejected: None of these.
    """
    try:
        subject = subject_name(wish.common_name, wish.subject)
    except NameRejected as error:
        raise CASubjectRejected(reason=error.detail.rstrip(".")) from error
    check_subject(path, subject)
    return subject


def check_subject(path: Sequence[x509.Certificate], subject: x509.Name) -> None:
    """Refuse the name of a CA above, and one that the constraints above exclude.

    Raises:
        CASubjectRejected: As above.
    """
    for certificate in path:
        # A self-issued certificate does not count in path lengths (RFC 5280 §6.1.4 l).
        if certificate.subject == subject:
            raise CASubjectRejected(reason="a CA above it has the same name")
        constraints = constraints_of(certificate)
        if constraints is None:
            continue
        outside = find_violation(constraints, subject=subject, names=())
        if outside is not None:
            raise CASubjectRejected(reason=f"{outside} violates a name constraint above it")


def plan_child(
    parent: CANode, path: Sequence[x509.Certificate], wish: CAWish, *, now: datetime
) -> CAPlan:
    """Ask every rule about a new CA, before any key is made (HIER-2 … HIER-5).

    Raises:
        PathLengthNotAllowed, ConstraintsNotAllowed, CASubjectRejected: As named.
    """
    upper = path[0]
    return CAPlan(
        parent=parent,
        path=tuple(path),
        subject=child_subject(path, wish),
        not_before=max(upper.not_valid_before_utc, now - BACKDATE),
        # "Child validity capped at parent's not_after" (HIER-4).
        not_after=min(upper.not_valid_after_utc, now + timedelta(days=wish.ttl_days)),
        path_length=child_path_length(path, wish.path_length),
        constraints=child_constraints(path, wish.permitted, wish.excluded),
    )


def check_child(
    certificate: x509.Certificate,
    path: Sequence[x509.Certificate],
    pool: Iterable[x509.Certificate],
    *,
    now: datetime,
) -> tuple[x509.Certificate, ...]:
    """Judge a certificate that another CA signed (HIER-2, HIER-3, HIER-7).

    Args:
        certificate: The new CA's.
        path: Its parent's certificate and those above, the root last.
        pool: What may stand between it and its parent.
        now: The moment to judge.

    Returns:
        What stands between it and its parent, lowest first; empty if the parent signed it.

    Raises:
        CACertificateRejected: No CA, or no path to the parent holds.
        PathLengthNotAllowed, ConstraintsNotAllowed, CASubjectRejected: As named.
    """
    for finding in chain.check_ca(certificate, None, now):
        if finding.severity is Severity.ERROR:
            raise CACertificateRejected(reason=finding.text.rstrip("."))
    try:
        found = chain.verify_path(certificate, [*pool, *path[:-1]], path[-1:], now)
        for lower, upper in itertools.pairwise(found):
            chain.verify_issued(lower, upper)
    except ChainError as error:
        reason = f"{error.data['subject']}: {error.data['reason']}"
        raise CACertificateRejected(reason=reason) from error
    between = found[1 : -len(path)]
    if found[1 + len(between) :] != tuple(path):
        raise CACertificateRejected(reason="its chain does not lead to its parent in this tree")
    above = (*between, *path)
    child_path_length(above, path_length_of(certificate))
    own = constraint_texts(constraints_of(certificate))
    for one in own:
        child_constraints(above, one["permitted"], one["excluded"])
    check_subject(above, certificate.subject)
    return between
