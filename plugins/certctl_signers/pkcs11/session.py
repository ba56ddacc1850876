"""A session with a token, and what is read from the objects in it.

Imported only where ``python-pkcs11`` is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pkcs11
from pkcs11 import Attribute, ObjectClass
from pkcs11.types import Session

from certctl_core.contracts.signers import KeyNotFound, KeyRejectedBySigner
from certctl_core.pki.pkcs11_uri import PKCS11URI


@dataclass(slots=True)
class Opened:
    """A session that one thread uses, with the keys that were found in it."""

    session: Session
    generation: int
    keys: dict[PKCS11URI, Any] = field(default_factory=dict)
    asking: set[PKCS11URI] = field(default_factory=set)

    def key(self, uri: PKCS11URI) -> Any:
        """The private key of a reference.

        Raises:
            KeyNotFound: None matches.
            KeyRejectedBySigner: Several do.
        """
        found = self.keys.get(uri)
        if found is None:
            found = self.keys[uri] = self._find(uri)
            if attribute(found, Attribute.ALWAYS_AUTHENTICATE):
                self.asking.add(uri)
        return found

    def wants_pin(self, uri: PKCS11URI) -> bool:
        """Whether the key wants the PIN for each signature."""
        return uri in self.asking

    def _find(self, uri: PKCS11URI) -> Any:
        wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        if uri.id:
            wanted[Attribute.ID] = uri.id
        if uri.object:
            wanted[Attribute.LABEL] = uri.object
        matches = list(self.session.get_objects(wanted))
        if not matches:
            raise KeyNotFound(ref=str(uri))
        if len(matches) > 1:
            raise KeyRejectedBySigner(ref=str(uri), reason="several keys of the token match")
        return matches[0]


def public_attributes(key: Any) -> dict[Attribute, Any]:
    """Type and public numbers of either half of a key pair."""
    wanted = (
        Attribute.KEY_TYPE,
        Attribute.MODULUS,
        Attribute.PUBLIC_EXPONENT,
        Attribute.EC_PARAMS,
        Attribute.EC_POINT,
    )
    found = {name: attribute(key, name) for name in wanted}
    return {name: value for name, value in found.items() if value not in {None, b""}}


def attribute(key: Any, name: Attribute) -> Any:
    """An attribute of an object; None where the token has or tells none."""
    try:
        return key[name]
    except (pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive, ValueError):
        return None
