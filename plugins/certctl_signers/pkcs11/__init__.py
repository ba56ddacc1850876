"""Keys in a PKCS#11 token: HSM, smart card or SoftHSM (spec 02 SIGN-8)."""

from certctl_signers.pkcs11.provider import PKCS11, PKCS11Config, certctl_signers

__all__ = ["PKCS11", "PKCS11Config", "certctl_signers"]
