"""Keys in a PKCS#11 token: HSM, smart card or SoftHSM (spec 02 SIGN-8).

A reference is a URI of RFC 7512. The library and the PIN come from the configuration: who may name
references (the editors of issuers) must not be able to load code or to read files.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from typing_extensions import override

from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.options import AbsPath, PluginConfig, Secret, option, secret
from certctl_core.contracts.plugin import hookimpl
from certctl_core.contracts.signers import (
    GeneratedKey,
    KeyAlgorithm,
    KeyRefInvalid,
    KeyRejectedBySigner,
    KeyUnsafe,
    SignerProvider,
    SignerUnavailable,
    SigningKey,
    check_private,
)
from certctl_core.kernel.secrets import Credential
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import ca_key_id, check_key, signature_hash
from certctl_core.pki.pkcs11_uri import PKCS11URI, parse_pkcs11_uri
from certctl_signers.pkcs11.keys import PublicTokenKey, token_key

if TYPE_CHECKING:
    from pkcs11 import Attribute

    from certctl_signers.pkcs11.library import Library
    from certctl_signers.pkcs11.token import Token

MAX_PIN_FILE = 1024

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")

# DER of the names of curves (RFC 5480, RFC 8410), as CKA_EC_PARAMS holds them.
_CURVES: dict[KeyAlgorithm, tuple[bytes, ec.EllipticCurve]] = {
    KeyAlgorithm.ECDSA_P256: (bytes.fromhex("06082a8648ce3d030107"), ec.SECP256R1()),
    KeyAlgorithm.ECDSA_P384: (bytes.fromhex("06052b81040022"), ec.SECP384R1()),
    KeyAlgorithm.ECDSA_P521: (bytes.fromhex("06052b81040023"), ec.SECP521R1()),
}
_ED25519 = (
    bytes.fromhex("06032b6570"),
    bytes.fromhex("130c656477617264733235353139"),  # the PrintableString of PKCS#11 v3.0
)
_RSA_BITS = {
    KeyAlgorithm.RSA_2048: 2048,
    KeyAlgorithm.RSA_3072: 3072,
    KeyAlgorithm.RSA_4096: 4096,
}
_PROBE = b"certctl: is this the private half?"


class PKCS11Config(PluginConfig):
    """How the token is reached."""

    module: AbsPath = option(
        title="Library",
        help="The PKCS#11 library of the token's maker.",
        example="/usr/lib/softhsm/libsofthsm2.so",
    )
    token: str = option(
        "",
        title="Token",
        help="Label of the token in which keys are made; not needed where there is only one.",
        max_length=32,
        example="certctl",
    )
    pin: Secret | None = secret(
        None,
        title="PIN",
        help="The user PIN of the token. Better kept in a file of its own.",
    )
    pin_file: AbsPath | None = option(
        None,
        title="PIN file",
        help="Holds the user PIN, mode 0600; read at each login, so it may change.",
        example="/etc/certctl/token.pin",
    )
    pin_folder: AbsPath | None = option(
        None,
        title="Folder of PIN files",
        help="References may name files below it as their pin-source.",
        advanced=True,
    )
    sessions: int = option(
        8,
        title="Sessions",
        help="How many signatures a process asks for at once.",
        ge=1,
        le=256,
        advanced=True,
    )


class PKCS11(SignerProvider):
    """Loads and makes keys in tokens."""

    kind = "pkcs11"
    title = "PKCS#11 token"
    api_version = 1
    summary = "Keys that never leave an HSM, a smart card or SoftHSM."
    packages = ("pkcs11",)
    extra = "pkcs11"
    Config = PKCS11Config
    config: PKCS11Config
    algorithms: ClassVar[frozenset[KeyAlgorithm]] = frozenset(
        {*_RSA_BITS, *_CURVES, KeyAlgorithm.ED25519}
    )

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        super().__init__(config, ctx)
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._library: Library | None = None
        self._tokens: dict[PKCS11URI, Token] = {}
        self._is_closed = False

    @override
    def load(self, ref: str) -> SigningKey:
        uri = self._uri(ref)
        if not (uri.id or uri.object):
            raise KeyRefInvalid(reason="it names neither id nor object of the key")
        return self._load(uri)

    @override
    def generate(self, algorithm: KeyAlgorithm, ref_hint: str) -> GeneratedKey:
        if not all(_SEGMENT.fullmatch(word) and ".." not in word for word in ref_hint.split("/")):
            raise KeyRefInvalid(reason="a hint has words of A-Z a-z 0-9 . _ - with / between")
        from pkcs11 import KeyType, Mechanism

        uri = PKCS11URI(token=self.config.token)
        token = self.token(_token_of(uri))
        if algorithm in _RSA_BITS:
            key_type, mechanism = KeyType.RSA, Mechanism.RSA_PKCS_KEY_PAIR_GEN
            parameters = b""
        elif algorithm in _CURVES:
            key_type, mechanism = KeyType.EC, Mechanism.EC_KEY_PAIR_GEN
            parameters = _CURVES[algorithm][0]
        else:
            key_type, mechanism = KeyType.EC_EDWARDS, Mechanism.EC_EDWARDS_KEY_PAIR_GEN
            parameters = _ED25519[0]
        if algorithm not in self.algorithms or mechanism not in token.mechanisms():
            reason = "the token does not support this algorithm"
            raise KeyRejectedBySigner(ref=algorithm.value, reason=reason)
        ident = token.generate(
            key_type,
            mechanism,
            label=ref_hint,
            bits=_RSA_BITS.get(algorithm, 0),
            parameters=parameters,
            name=_ca_key_id,
        )
        uri = replace(uri, object=ref_hint, id=ident)
        return GeneratedKey(key=self._load(uri), ref=str(uri))

    @override
    def check(self) -> None:
        self.token(PKCS11URI(token=self.config.token)).mechanisms()

    @override
    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            tokens, self._tokens = self._tokens, {}
            library, self._library = self._library, None
        for token in tokens.values():
            token.close()
        if library is not None and self._process == os.getpid():
            from certctl_signers.pkcs11.library import leave_library

            leave_library(library)

    def _uri(self, ref: str) -> PKCS11URI:
        """A reference, within what the configuration allows."""
        try:
            uri = parse_pkcs11_uri(ref)
        except PKIError as error:
            raise KeyRefInvalid(reason=str(error.data["reason"])) from None
        if uri.module_path not in {"", self.config.module}:
            raise KeyRefInvalid(reason="its module-path is another library than the configured one")
        if uri.pin_file and uri.pin_file != self.config.pin_file:
            path, folder = os.path.realpath(uri.pin_file), self.config.pin_folder
            if folder is None or not Path(path).is_relative_to(os.path.realpath(folder)):
                raise KeyRefInvalid(reason="its pin-source is outside the folder of PIN files")
        return replace(uri, token=uri.token or ("" if uri.serial else self.config.token))

    def _load(self, uri: PKCS11URI) -> SigningKey:
        place = _Place(self, uri)
        token = self.token(_token_of(uri))
        try:
            public = _public_key(token.public(uri))
            check_key(public)
        except PKIError as error:
            raise KeyRejectedBySigner(ref=place.ref, reason=error.detail.rstrip(".")) from None
        except ValueError:
            reason = "its public key cannot be read"
            raise KeyRejectedBySigner(ref=place.ref, reason=reason) from None
        key = token_key(place, public)
        _probe(key, place.ref)
        return key

    def token(self, which: PKCS11URI) -> Token:
        """The token of that name; opened on first use in this process."""
        with self._lock:
            if self._process != os.getpid():
                # A child of the process that opened it: nothing of it may be used here.
                self._library, self._tokens, self._process = None, {}, os.getpid()
            token = self._tokens.get(which)
            if token is None:
                if self._is_closed:
                    raise SignerUnavailable(reason="the signer is closed")
                token = self._tokens[which] = self._open(which)
            return token

    def _open(self, which: PKCS11URI) -> Token:
        from certctl_signers.pkcs11.library import use_library
        from certctl_signers.pkcs11.token import Token

        if self._library is None:
            self._library = use_library(str(self.config.module))
        return Token(
            self._library,
            which,
            pin=lambda: self._pin(which.pin_file),
            size=self.config.sessions,
            log=self.ctx.log,
        )

    def _pin(self, pin_file: str) -> Credential | None:
        path = pin_file or self.config.pin_file
        if path is not None:
            return _read_pin(path)
        return None if self.config.pin is None else Credential(self.config.pin)


class _Place:
    """One key of the token, as its key object sees it."""

    def __init__(self, provider: PKCS11, uri: PKCS11URI) -> None:
        self._provider = provider
        self._uri = uri
        self._token = _token_of(uri)

    @property
    def ref(self) -> str:
        """Its reference."""
        return str(self._uri)

    def rsa(self, digest_info: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 over a DigestInfo."""
        from pkcs11 import Mechanism

        return self._provider.token(self._token).sign(self._uri, digest_info, Mechanism.RSA_PKCS)

    def ecdsa(self, digest: bytes) -> bytes:
        """ECDSA over a digest: r and s, of the same length each."""
        from pkcs11 import Mechanism

        return self._provider.token(self._token).sign(self._uri, digest, Mechanism.ECDSA)

    def ed25519(self, data: bytes) -> bytes:
        """Pure Ed25519."""
        from pkcs11 import Mechanism

        return self._provider.token(self._token).sign(self._uri, data, Mechanism.EDDSA)


def _token_of(uri: PKCS11URI) -> PKCS11URI:
    """The part of a reference that names the token."""
    return replace(uri, object="", id=b"", module_path="")


def _read_pin(path: str) -> Credential:
    try:
        with Path(path).open("rb") as file:
            check_private(os.fstat(file.fileno()), path)
            data = file.read(MAX_PIN_FILE + 1)
        pin = data.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        reason = f"the PIN file {path} cannot be read: {error.strerror}"
        raise SignerUnavailable(reason=reason) from None
    except UnicodeDecodeError:
        raise KeyUnsafe(ref=path, reason="it holds no PIN") from None
    if not pin or len(data) > MAX_PIN_FILE:
        raise KeyUnsafe(ref=path, reason="it holds no PIN")
    return Credential(pin)


def _ca_key_id(public: Mapping[Attribute, Any]) -> bytes:
    return bytes.fromhex(ca_key_id(_public_key(public)))


def _public_key(found: Mapping[Attribute, Any]) -> PublicTokenKey:
    """The public key that a token describes.

    Raises:
        ValueError: It is malformed, or of no kind that signs here.
    """
    from pkcs11 import Attribute, KeyType

    if found.get(Attribute.KEY_TYPE) == KeyType.RSA:
        return rsa.RSAPublicNumbers(
            int.from_bytes(found.get(Attribute.PUBLIC_EXPONENT, b""), "big"),
            int.from_bytes(found.get(Attribute.MODULUS, b""), "big"),
        ).public_key()
    parameters, point = found.get(Attribute.EC_PARAMS), found.get(Attribute.EC_POINT, b"")
    if parameters in _ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(_unwrapped(point, 32))
    for known, curve in _CURVES.values():
        if parameters == known:
            size = 1 + 2 * ((curve.key_size + 7) // 8)
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, _unwrapped(point, size))
    message = "no known algorithm or curve"
    raise ValueError(message)


def _unwrapped(point: bytes, size: int) -> bytes:
    """A point without its OCTET STRING, which some tokens leave out."""
    return point if len(point) == size else point[-size:]


def _probe(key: SigningKey, ref: str) -> None:
    """Sign a test digest, so that a key that cannot sign is found before it is needed."""
    public: Any = key.public_key()
    digest = signature_hash(public)
    signer: Any = key
    arguments: tuple[Any, ...] = ()
    if isinstance(public, rsa.RSAPublicKey):
        arguments = (padding.PKCS1v15(), digest)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        arguments = (ec.ECDSA(digest or hashes.SHA256()),)
    try:
        public.verify(signer.sign(_PROBE, *arguments), _PROBE, *arguments)
    except InvalidSignature:
        reason = "what it signs does not verify with its public key"
        raise KeyRejectedBySigner(ref=ref, reason=reason) from None


@hookimpl
def certctl_signers() -> list[type[SignerProvider]]:
    """Offer the PKCS#11 signer."""
    return [PKCS11]
