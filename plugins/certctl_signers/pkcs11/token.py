"""A token: its sessions, the login, and how all of it is had again after a loss.

Imported only where ``python-pkcs11`` is installed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.types import Session
from pkcs11.types import Token as TokenInSlot

from certctl_core.contracts.context import Logger
from certctl_core.contracts.signers import (
    KeyRejectedBySigner,
    SignerPINRefused,
    SignerUnavailable,
)
from certctl_core.kernel.secrets import Credential
from certctl_core.pki.pkcs11_uri import PKCS11URI
from certctl_signers.pkcs11.library import Library, NotStarted
from certctl_signers.pkcs11.session import Opened, attribute, public_attributes

Result = TypeVar("Result")

PAUSES = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each further attempt: a token that restarts within three seconds fails no call."""

_LOOKS_FOR_A_NEW_TOKEN = 3
"""Attempts for a token that was never there: a wrong name should be said soon."""

_WAIT_FOR_SESSION = 30.0

_PIN_REFUSED: dict[type[pkcs11.PKCS11Error], str] = {
    pkcs11.PinIncorrect: "it is wrong",
    pkcs11.PinInvalid: "it is not acceptable",
    pkcs11.PinLenRange: "its length is not acceptable",
    pkcs11.PinExpired: "it has expired",
    pkcs11.PinLocked: "it is locked after wrong attempts; the token's officer must unlock it",
}

_UNSUPPORTED = (
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.DomainParamsInvalid,
    pkcs11.KeySizeRange,
    pkcs11.KeyTypeInconsistent,
    pkcs11.FunctionNotSupported,
    pkcs11.AttributeTypeInvalid,
    pkcs11.AttributeValueInvalid,
    pkcs11.TemplateInconsistent,
)

_LOST = (
    pkcs11.SessionHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.UserNotLoggedIn,
    pkcs11.KeyHandleInvalid,
    pkcs11.ObjectHandleInvalid,
    pkcs11.OperationActive,
    pkcs11.OperationNotInitialized,
    pkcs11.DeviceError,
    pkcs11.DeviceMemory,
    pkcs11.DeviceRemoved,
    pkcs11.TokenNotPresent,
    pkcs11.TokenNotRecognised,
    pkcs11.SlotIDInvalid,
    pkcs11.GeneralError,
    pkcs11.FunctionFailed,
    pkcs11.FunctionCancelled,
    pkcs11.FunctionRejected,
    pkcs11.HostMemory,
    pkcs11.NoSuchToken,
    # SoftHSM says so, too, while another process that logs in writes its files.
    pkcs11.UserPinNotInitialized,
    NotStarted,
)
"""What a new start of library and sessions may cure."""

_ABSENT = (pkcs11.NoSuchToken, NotStarted)


class Token:
    """The sessions of one token. Safe for threads: each session has one user at a time.

    Args:
        library: Its library.
        wanted: Says which token, by label, serial, manufacturer and model.
        pin: Reads the PIN; asked at each login, so a changed one needs no restart.
        size: Sessions at once.
        log: Hears about losses.
    """

    def __init__(
        self,
        library: Library,
        wanted: PKCS11URI,
        *,
        pin: Callable[[], Credential | None],
        size: int,
        log: Logger,
    ) -> None:
        self.library = library
        self._wanted = wanted
        self._pin = pin
        self._log = log
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._generation = -1
        self._idle: list[Opened] = []
        self._in_slot: TokenInSlot | None = None
        self._login: Session | None = None
        self._refused: Credential | None = None
        self._was_there = False
        self._is_away = False
        self._is_closed = False

    @property
    def label(self) -> str:
        """What messages call it."""
        return self._wanted.token or self._wanted.serial or "(the only one)"

    def run(self, work: Callable[[Opened], Result]) -> Result:
        """Do something in a session; after a loss again in a new one.

        Raises:
            SignerUnavailable: The token is not to be had.
            SignerPINRefused: It does not take the PIN.
            SignerError: What ``work`` says.
        """
        if not self._slots.acquire(timeout=_WAIT_FOR_SESSION):
            raise SignerUnavailable(reason=f"all sessions of token {self.label} are in use")
        try:
            return self._persist(work)
        finally:
            self._slots.release()

    def _persist(self, work: Callable[[Opened], Result]) -> Result:
        lost: pkcs11.PKCS11Error | None = None
        # Once somebody has waited in vain, the others try, and do not wait.
        pauses = PAUSES[:1] if self._is_away else PAUSES
        for attempt, pause in enumerate((0.0, *pauses)):
            if pause:
                threading.Event().wait(pause)
            seen = -1
            try:
                with self.library.calls() as seen:
                    result = self._once(work, seen)
            except pkcs11.PKCS11Error as error:
                lost = self._judged(error, is_first=attempt == 0)
                is_unknown = isinstance(error, _ABSENT) and not self._was_there
                if is_unknown and attempt == _LOOKS_FOR_A_NEW_TOKEN:
                    break
            else:
                self._is_away = False
                return result
            with contextlib.suppress(NotStarted):
                self.library.restart(seen)
        self._is_away = True
        raise SignerUnavailable(reason=self._says(lost)) from None

    def _judged(self, error: pkcs11.PKCS11Error, *, is_first: bool) -> pkcs11.PKCS11Error:
        """The error, if a new start of library and sessions may cure it.

        Raises:
            KeyRejectedBySigner: The token does not support what was asked for.
            SignerUnavailable: It is of a kind that comes again.
        """
        if isinstance(error, _UNSUPPORTED):
            reason = f"the token does not support it ({type(error).__name__})"
            raise KeyRejectedBySigner(ref=self.label, reason=reason) from None
        if not isinstance(error, _LOST) and type(error) is not pkcs11.PKCS11Error:
            raise SignerUnavailable(reason=self._says(error)) from None
        if is_first and not self._is_away:
            self._log.warning("token_lost", label=self.label, error=type(error).__name__)
        return error

    def _once(self, work: Callable[[Opened], Result], generation: int) -> Result:
        opened = self._take(generation)
        try:
            result = work(opened)
        except pkcs11.PKCS11Error:
            raise  # The session may be in any state: it is not given back.
        except BaseException:
            self._give_back(opened)
            raise
        self._give_back(opened)
        return result

    def _says(self, error: Exception | None) -> str:
        if isinstance(error, pkcs11.NoSuchToken):
            return f"token {self.label} is not there"
        if isinstance(error, pkcs11.UserPinNotInitialized):
            return f"token {self.label} has no user PIN yet"
        if isinstance(error, NotStarted):
            return str(error)
        return f"token {self.label} reports {type(error).__name__}"

    def _take(self, generation: int) -> Opened:
        with self._lock:
            if self._is_closed:
                raise SignerUnavailable(reason="the signer is closed")
            if generation != self._generation:
                # The handles of before mean nothing now, or something else.
                self._idle.clear()
                self._in_slot = self._login = None
                self._generation = generation
            if self._idle:
                return self._idle.pop()
            if self._in_slot is None:
                self._in_slot = self._find()
            if self._login is None:
                self._login = self._log_in(self._in_slot)
            if not self._was_there:
                self._was_there = True
            token = self._in_slot
        return Opened(token.open(), generation)

    def _give_back(self, opened: Opened) -> None:
        with self._lock:
            if opened.generation == self._generation and not self._is_closed:
                self._idle.append(opened)

    def _find(self) -> TokenInSlot:
        wanted = self._wanted
        found = [
            token
            for token in self.library.tokens()
            if token.flags & TokenFlag.TOKEN_INITIALIZED
            and wanted.token in {"", token.label}
            and wanted.manufacturer in {"", token.manufacturer_id}
            and wanted.model in {"", token.model}
            and wanted.serial in {"", token.serial.decode(errors="replace")}
        ]
        if not found:
            raise pkcs11.NoSuchToken
        if len(found) > 1:
            reason = f"several tokens match {self.label}; name one by label and serial"
            raise SignerUnavailable(reason=reason)
        return found[0]

    def _log_in(self, token: TokenInSlot) -> Session:
        """Log the whole process in; the session that does so stays open, and with it the login."""
        pin = self._pin()
        if pin is None:
            return token.open()
        if pin == self._refused:
            # Tokens lock themselves after a few wrong attempts: the same PIN is not tried again.
            raise SignerPINRefused(token=self.label, cause="it was refused before")
        try:
            return pin.use(lambda data: token.open(user_pin=data.decode()))
        except pkcs11.UserAlreadyLoggedIn:
            return token.open()
        except tuple(_PIN_REFUSED) as error:
            self._refused = pin
            raise SignerPINRefused(token=self.label, cause=_PIN_REFUSED[type(error)]) from None

    def sign(self, uri: PKCS11URI, data: bytes, mechanism: Mechanism) -> bytes:
        """Sign with a key of the token; ``data`` is what the mechanism wants."""

        def work(opened: Opened) -> bytes:
            key = opened.key(uri)
            # Some keys want the PIN for each signature (CKA_ALWAYS_AUTHENTICATE).
            pin = self._pin() if opened.wants_pin(uri) else None
            if pin is None:
                signature = key.sign(data, mechanism=mechanism)
            else:
                signature = pin.use(
                    lambda code: key.sign(data, mechanism=mechanism, pin=code.decode())
                )
            return bytes(signature)

        return self.run(work)

    def mechanisms(self) -> frozenset[object]:
        """What the token can do."""

        def work(opened: Opened) -> frozenset[object]:
            return frozenset(opened.session.token.slot.get_mechanisms())

        return self.run(work)

    def generate(
        self,
        key_type: KeyType,
        mechanism: Mechanism,
        *,
        label: str,
        bits: int = 0,
        parameters: bytes = b"",
        name: Callable[[dict[Attribute, Any]], bytes],
    ) -> bytes:
        """Make a key pair that stays in the token: sensitive, not extractable, for signatures.

        Args:
            key_type: Of the key.
            mechanism: Makes it.
            label: Its ``CKA_LABEL``.
            bits: Size of an RSA key.
            parameters: DER of the curve's name.
            name: Public attributes → ``CKA_ID``.

        Returns:
            The ``CKA_ID``.
        """
        public: dict[Attribute, Any] = {Attribute.VERIFY: True, Attribute.ENCRYPT: False}
        private: dict[Attribute, Any] = {
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.PRIVATE: True,
        }

        def work(opened: Opened) -> bytes:
            with opened.session.token.open(rw=True) as session:
                maker: Any = session
                options: dict[str, Any] = {"key_length": bits}
                if parameters:
                    chosen = {Attribute.EC_PARAMS: parameters}
                    maker = session.create_domain_parameters(key_type, chosen, local=True)
                    options = {}
                else:
                    options["key_type"] = key_type
                upper, lower = maker.generate_keypair(
                    **options,
                    mechanism=mechanism,
                    store=True,
                    label=label,
                    capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                    public_template=public,
                    private_template=private,
                )
                try:
                    ident = name(public_attributes(upper))
                    upper[Attribute.ID] = ident
                    lower[Attribute.ID] = ident
                except BaseException:
                    for half in (upper, lower):
                        half.destroy()
                    raise
                return ident

        return self.run(work)

    def public(self, uri: PKCS11URI) -> dict[Attribute, Any]:
        """The public attributes of a private key's other half.

        Raises:
            KeyRejectedBySigner: The token does not hold it.
        """

        def work(opened: Opened) -> dict[Attribute, Any]:
            key = opened.key(uri)
            found = public_attributes(key)
            if Attribute.MODULUS in found or Attribute.EC_POINT in found:
                return found
            wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY}
            if ident := attribute(key, Attribute.ID):
                wanted[Attribute.ID] = ident
            else:
                wanted[Attribute.LABEL] = attribute(key, Attribute.LABEL)
            for half in opened.session.get_objects(wanted):
                return public_attributes(half)
            raise KeyRejectedBySigner(ref=str(uri), reason="its public key is not in the token")

        return self.run(work)

    def close(self) -> None:
        """Use it no more. Its login stays while others in this process use the library."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for opened in idle:
            try:
                opened.session.close()
            except pkcs11.PKCS11Error:
                return
