"""Where private keys are kept, by purpose, and the PKCS#11 token that may keep them."""

from certctl_core.kernel.config.fields import Section, setting
from certctl_core.kernel.config.values import AbsolutePath, Integer, SignerKind, Text
from certctl_core.kernel.secrets import Secret


class SignerSettings(Section):
    """``settings.signers``."""

    ca: SignerKind = setting(
        "SIGNER_CA",
        "file",
        "Signer that makes and keeps the keys of CAs made here: file, pkcs11, or the kind of "
        "another plugin. A local issuer may name another one.",
        example="pkcs11",
    )
    ocsp: SignerKind | None = setting(
        "SIGNER_OCSP",
        None,
        "Signer that makes and keeps the keys of OCSP responders, as for CERTCTL_SIGNER_CA. "
        "CERTCTL_OCSP_RESPONDER_KEY_STORE decides when unset.",
        example="pkcs11",
    )
    audit: SignerKind | None = setting(
        "SIGNER_AUDIT",
        None,
        "Signer that makes and keeps the Ed25519 key of the audit log, as for CERTCTL_SIGNER_CA, or "
        "database: sealed in the database. Another one than before rotates the key at the next "
        "start. A new log's key is in the database when unset; an existing key stays where it is.",
        example="pkcs11",
    )
    pkcs11_module: AbsolutePath | None = setting(
        "PKCS11_MODULE",
        None,
        "PKCS#11 library of the token. The module-path of CERTCTL_CA_KEY_PATH when unset.",
        example="/usr/lib/softhsm/libsofthsm2.so",
    )
    pkcs11_token: Text = setting(
        "PKCS11_TOKEN",
        "",
        "Label of the token in which keys are made. The token of CERTCTL_CA_KEY_PATH when unset; "
        "not needed where the library shows only one.",
        example="certctl",
    )
    pkcs11_pin: Secret | None = setting(
        "PKCS11_PIN",
        None,
        "User PIN of the token, best given as a file: CERTCTL_PKCS11_PIN_FILE. The pin-source of "
        "CERTCTL_CA_KEY_PATH when unset.",
    )
    pkcs11_sessions: Integer = setting(
        "PKCS11_SESSIONS",
        8,
        "Sessions with the token, per process: how many signatures are asked for at once.",
        ge=1,
        le=256,
        example="16",
    )
