"""Opening a private key whose PEM and passphrase are credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl_core.kernel.secrets.credential import Credential
from certctl_core.kernel.secrets.secret import Secret

if TYPE_CHECKING:
    from certctl_core.pki.keys import SigningKey


def open_private_key(pem: Credential, *, passphrase: Secret | None = None) -> SigningKey:
    """Read a private key; neither its text nor the passphrase comes out (02 SIGN-9).

    Args:
        pem: PKCS#8, PKCS#1 or SEC 1 PEM.
        passphrase: Of an encrypted key.

    Raises:
        MalformedKey, WrongPassphrase, UnsupportedKey, WeakKey: As of ``load_private_key_pem``.
    """
    from certctl_core.pki.keys import load_private_key_pem

    if passphrase is None:
        return pem.use(load_private_key_pem)
    return Credential(passphrase).use(
        lambda password: pem.use(lambda data: load_private_key_pem(data, password=password))
    )
