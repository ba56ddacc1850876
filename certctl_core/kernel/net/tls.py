"""TLS contexts for outgoing connections: verification is always on (spec 06 NET-1)."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from pathlib import Path

from certctl_core.kernel.net.errors import ConfigProblem
from certctl_core.kernel.secrets import Credential, Secret, open_private_key
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import private_key_pem
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """What we authenticate with by TLS.

    Attributes:
        cert_pem: The certificate, then its chain, in PEM.
        key_pem: The private key in PEM, plain or encrypted.
        passphrase: Of the key, if it is encrypted.
    """

    cert_pem: str
    key_pem: Secret
    passphrase: Secret | None = None


def client_context(
    *,
    ca_pem: str | None = None,
    identity: ClientIdentity | None = None,
    also_trusted: str = "",
) -> ssl.SSLContext:
    """A context for TLS 1.2 and later that verifies the chain and the host name.

    Args:
        ca_pem: Certificates to trust instead of the system's, in PEM. Each is a trust anchor, so
            that an issuing CA can be trusted without its root.
        identity: For mutual TLS.
        also_trusted: Certificates to trust beside the system's, in PEM.

    Raises:
        ConfigProblem: A certificate or key that cannot be used; names which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 made strict chain checks a default of its helper function. Private CAs often lack
    # what it demands, and the same configuration has to work on every Python.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca_pem is None:
        _trust_system(context)
    wanted = also_trusted if ca_pem is None else ca_pem
    if wanted or ca_pem is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=wanted)
        except (ssl.SSLError, ValueError) as error:
            reason = "the CA bundle holds no certificate that can be read"
            raise ConfigProblem(reason) from error
    if identity is not None:
        _authenticate(context, identity)
    return context


def _trust_system(context: ssl.SSLContext) -> None:
    context.set_default_verify_paths()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        # A Python that was built elsewhere does not know where this system keeps its roots.
        import certifi

        context.load_verify_locations(certifi.where())


def _authenticate(context: ssl.SSLContext, identity: ClientIdentity) -> None:
    try:
        key = open_private_key(Credential(identity.key_pem), passphrase=identity.passphrase)
    except PKIError as error:
        reason = f"the client key cannot be used: {error}"
        raise ConfigProblem(reason) from None
    # OpenSSL takes files only: the key is written encrypted with a passphrase that lives as long as
    # this call, into a file that only we can read.
    once = secrets.token_bytes(32).hex().encode()
    text = identity.cert_pem.encode() + b"\n" + private_key_pem(key, password=once)
    handle, name = tempfile.mkstemp(prefix="certctl-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        context.load_cert_chain(name, password=once)
    except (ssl.SSLError, ValueError) as error:
        reason = "the client certificate cannot be read or its key is another one"
        raise ConfigProblem(reason) from error
    finally:
        Path(name).unlink()
