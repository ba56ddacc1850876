"""Credential handles: shown as ``[redacted]``, lent to a callback only (02 SIGN-9)."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from certctl_core.contracts.signers import SignerUnavailable
from certctl_core.kernel.events import to_json
from certctl_core.kernel.secrets import (
    REDACTED,
    Credential,
    KeySpec,
    Secret,
    open_private_key,
    parse_keyring,
    redact,
)
from certctl_core.pki.errors import WrongPassphrase
from certctl_core.pki.keys import KeyAlgorithm, ca_key_id, generate, private_key_pem

pytestmark = pytest.mark.spec("02/SIGN-9")

CANARY = "canary-0123456789"


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=False)

    pin: Credential


@dataclasses.dataclass
class Plain:
    pin: Credential


def _logged(credential: Credential) -> str:
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out), processors=[structlog.processors.JSONRenderer()]
    )
    log.info("login", pin=credential, nested={"pins": [credential]})
    return out.getvalue()


SHOWN: dict[str, Callable[[Credential], object]] = {
    "str": str,
    "repr": repr,
    "format": lambda it: f"{it}",
    "percent": lambda it: f"{it!s:>20}",
    "in_list": lambda it: repr([it]),
    "in_dataclass": lambda it: repr(Plain(pin=it)),
    "as_dict": lambda it: dataclasses.asdict(Plain(pin=it)),
    "model": lambda it: repr(Holder(pin=it)),
    "model_json": lambda it: Holder(pin=it).model_dump_json(),
    "model_dump": lambda it: Holder(pin=it).model_dump(),
    "json": lambda it: json.dumps({"pin": it}, default=str),
    "event": to_json,
    "audit": lambda it: redact({"detail": it})[0],
    "log": _logged,
    "keyring": lambda it: repr(KeySpec(kid="k1", material=it)),
    "copy": lambda it: repr(copy.deepcopy(it)),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("value", [CANARY, CANARY.encode(), Secret(CANARY)], ids=str)
def test_it_is_shown_as_redacted(show: Callable[[Credential], object], value: Any) -> None:
    shown = str(show(Credential(value)))
    assert REDACTED == "[redacted]"
    assert REDACTED in shown
    assert CANARY not in shown


@pytest.mark.parametrize("show", [str, repr])
def test_nothing_but_redacted_is_shown(show: Callable[[object], str]) -> None:
    assert show(Credential(CANARY)) == "[redacted]"
    assert Holder(pin=Credential(CANARY)).model_dump_json() == '{"pin":"[redacted]"}'


def test_the_bytes_are_there_inside_the_callback_only() -> None:
    credential = Credential(CANARY)

    assert credential.use(len) == len(CANARY)
    assert credential.use(lambda data: data == CANARY.encode())
    public = [getattr(credential, name) for name in dir(credential) if not name.startswith("_")]
    assert public == [credential.use]
    with pytest.raises(TypeError):
        vars(credential)


@pytest.mark.parametrize(
    "keep",
    [lambda data: data, bytearray, memoryview, bytes.decode],
    ids=["bytes", "bytearray", "memoryview", "text"],
)
def test_a_callback_does_not_hand_the_bytes_out(keep: Callable[[bytes], object]) -> None:
    with pytest.raises(ValueError, match="does not leave") as caught:
        Credential(CANARY).use(keep)
    assert CANARY not in str(caught.value)


def test_it_is_copied_as_a_handle_and_never_pickled() -> None:
    credential = Credential(CANARY)
    assert copy.copy(credential) is credential
    assert copy.deepcopy([credential])[0] is credential
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(credential, protocol)


def test_it_is_made_by_code_and_by_no_input() -> None:
    with pytest.raises(ValidationError):
        Holder.model_validate({"pin": CANARY})
    with pytest.raises(ValidationError):
        Holder.model_validate_json(json.dumps({"pin": CANARY}))


def test_it_compares_with_its_kind_only() -> None:
    assert Credential("a") == Credential(b"a")
    assert Credential("a") != Credential("b")
    assert Credential("a") != "a"
    assert Credential("a") != Secret("a")
    assert len({Credential("a"), Credential(b"a")}) == 1


def _wrong(data: bytes) -> None:
    message = f"wrong PIN {data.decode()}"
    raise RuntimeError(message, data)


def _wrapped(data: bytes) -> None:
    try:
        _wrong(data)
    except RuntimeError as error:
        message = "the token refuses"
        raise OSError(5, message, data.decode()) from error


def _during(data: bytes) -> None:
    try:
        _wrong(data)
    finally:
        raise KeyError(data.decode())


def _typed(data: bytes) -> None:
    error = SignerUnavailable(reason=f"said {data.decode()}")
    error.add_note(data.decode())
    raise error


@pytest.mark.parametrize("fail", [_wrong, _wrapped, _during, _typed])
def test_errors_come_out_without_the_bytes(fail: Callable[[bytes], None]) -> None:
    def use() -> None:
        Credential(CANARY).use(fail)

    with pytest.raises((RuntimeError, OSError, KeyError, SignerUnavailable)) as caught:
        use()

    error = caught.value
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(told.format())
    assert CANARY not in text
    assert REDACTED in text
    assert fail.__name__ not in [frame.name for frame in told.stack]
    render = structlog.tracebacks.ExceptionDictTransformer(show_locals=True)
    assert CANARY not in json.dumps(render((type(error), error, error.__traceback__)), default=str)


def test_a_key_is_opened_without_its_passphrase_in_an_error() -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    pem = Credential(private_key_pem(key, password=CANARY.encode()))

    found = open_private_key(pem, passphrase=Secret(CANARY))
    assert ca_key_id(found.public_key()) == ca_key_id(key.public_key())
    plain = open_private_key(Credential(private_key_pem(key)))
    assert ca_key_id(plain.public_key()) == ca_key_id(key.public_key())
    with pytest.raises(WrongPassphrase) as caught:
        open_private_key(pem, passphrase=Secret(CANARY + "x"))
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert CANARY not in "".join(told.format())
    assert "PRIVATE KEY" not in "".join(told.format())


def test_the_roots_of_the_keyring_are_credentials() -> None:
    (spec,) = parse_keyring("k1:pass:" + CANARY * 3)
    assert CANARY not in repr(spec)
    root = spec.root(bytes(16))
    assert (str(root), root.use(len)) == (REDACTED, 32)
