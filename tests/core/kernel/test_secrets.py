"""Secrets: the type, sealing, redaction (spec 08 CRYPT-1, CRYPT-2, LOG-2; 06 CFG-3, SEC-2)."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import time
import traceback

import pytest
from pydantic import BaseModel, ValidationError

from certctl_core.kernel.secrets import (
    Credential,
    Keyring,
    KeyringMalformed,
    Purpose,
    Redactor,
    SealBroken,
    Secret,
    UnknownKeyId,
    generate_keyring,
    key_id_of,
    parse_keyring,
    parse_single_key,
    redact,
    redact_text,
)

SALT = bytes(range(16))
PLACE = {"table": "issuers", "column": "secrets.token", "row_id": "iss-1"}
KEY_A = base64.b64encode(bytes([1]) * 32).decode()
KEY_B = base64.b64encode(bytes([2]) * 32).decode()
CANARY = "canary-0123456789"


class Holder(BaseModel):
    token: Secret
    other: Secret | None = None


class TestSecret:
    @pytest.mark.spec("06/CFG-3")
    def test_is_masked_everywhere_but_in_reveal(self):
        secret = Secret(CANARY)
        holder = Holder(token=secret)
        shown = [
            str(secret),
            repr(secret),
            f"{secret}",
            f"{secret:>20}",
            repr(holder),
            holder.model_dump_json(),
            json.dumps(holder.model_dump(mode="json")),
            repr([secret]),
        ]
        assert all("********" in text for text in shown)
        assert all(CANARY not in text for text in shown)
        assert secret.reveal() == CANARY

    def test_traceback_with_locals_is_clean(self):
        def fail(secret: Secret) -> None:
            raise RuntimeError(secret)

        with pytest.raises(RuntimeError) as caught:
            fail(Secret(CANARY))
        error = caught.value
        lines = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert CANARY not in "".join(lines.format())

    def test_model_takes_text_and_secrets(self):
        assert Holder.model_validate({"token": CANARY}).token.reveal() == CANARY
        assert Holder.model_validate_json(json.dumps({"token": CANARY})).token == Secret(CANARY)
        with pytest.raises(ValidationError):
            Holder.model_validate({"token": 7})

    def test_json_schema_marks_it_write_only(self):
        schema = Holder.model_json_schema()["properties"]["token"]
        assert schema["writeOnly"] is True
        assert schema["format"] == "password"

    def test_compares_with_secrets_only(self):
        assert Secret("a") == Secret("a")
        assert Secret("a") != Secret("b")
        assert Secret("a") != "a"
        assert len({Secret("a"), Secret("a")}) == 1
        assert not isinstance(Secret("a"), str)

    def test_copies_but_is_never_pickled(self):
        secret = Secret(CANARY)
        assert copy.deepcopy(secret) == secret
        with pytest.raises(TypeError):
            pickle.dumps(secret)


class TestKeyring:
    @pytest.mark.spec("08/CRYPT-1", "05/SEC-3")
    def test_envelope_opens_only_in_its_place(self):
        keyring = Keyring.from_setting(f"k1:{KEY_A}", salt=SALT)
        sealed = keyring.seal(Purpose.PLUGIN_CONFIG, b"value", **PLACE)
        version, kid, nonce, body = sealed.split(".")
        assert (version, kid, len(nonce)) == ("v1", "k1", 16)
        assert len(base64.urlsafe_b64decode(body + "==")) == 5 + 16
        assert keyring.open(Purpose.PLUGIN_CONFIG, sealed, **PLACE) == b"value"
        for change in ({"table": "t"}, {"column": "c"}, {"row_id": "iss-2"}):
            with pytest.raises(SealBroken):
                keyring.open(Purpose.PLUGIN_CONFIG, sealed, **{**PLACE, **change})
        with pytest.raises(SealBroken):
            keyring.open(Purpose.CA_KEY, sealed, **PLACE)

    @pytest.mark.spec("05/SEC-3")
    def test_known_vector_made_with_plain_primitives(self):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = b"certctl/v1/plugin-config"
        subkey = HKDF(hashes.SHA256(), 32, SALT, info).derive(bytes([1]) * 32)
        body = AESGCM(subkey).encrypt(bytes(12), b"x", b"issuers|secrets.token|iss-1")
        parts = [base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in (bytes(12), body)]
        keyring = Keyring.from_setting(f"old:{KEY_A}", salt=SALT)
        opened = keyring.open(Purpose.PLUGIN_CONFIG, f"v1.old.{parts[0]}.{parts[1]}", **PLACE)
        assert opened == b"x"

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
            lambda text: text.replace("v1.", "v2.", 1),
            lambda text: text[:20],
            lambda _: "",
            lambda text: text + ".x",
            lambda text: text.replace(".k1.", ".k2.", 1),
        ],
        ids=["flipped", "version", "cut", "empty", "longer", "other_key"],
    )
    def test_damaged_envelope_does_not_open(self, damage):
        keyring = Keyring.from_setting(f"k1:{KEY_A},k2:{KEY_B}", salt=SALT)
        sealed = keyring.seal(Purpose.LOGIN, b"longer value", **PLACE)
        with pytest.raises(SealBroken) as caught:
            keyring.open(Purpose.LOGIN, damage(sealed), **PLACE)
        assert caught.value.data == {}

    @pytest.mark.spec("08/CRYPT-2", "05/SEC-2")
    def test_first_key_seals_and_all_open(self):
        old = Keyring.from_setting(f"k1:{KEY_A}", salt=SALT)
        both = Keyring.from_setting(f"k2:{KEY_B}, k1:{KEY_A}", salt=SALT)
        sealed = old.seal(Purpose.LOGIN, b"v", **PLACE)
        assert both.active_kid == "k2"
        assert both.kids == ("k2", "k1")
        assert both.open(Purpose.LOGIN, sealed, **PLACE) == b"v"
        assert both.needs_reseal(sealed)
        resealed = both.reseal(Purpose.LOGIN, sealed, **PLACE)
        assert key_id_of(resealed) == "k2"
        assert not both.needs_reseal(resealed)
        with pytest.raises(UnknownKeyId) as caught:
            old.open(Purpose.LOGIN, resealed, **PLACE)
        assert "key id k2" in caught.value.detail

    def test_salt_separates_installations(self):
        sealed = Keyring.from_setting(f"k1:{KEY_A}", salt=SALT).seal(Purpose.LOGIN, b"v", **PLACE)
        with pytest.raises(SealBroken):
            Keyring.from_setting(f"k1:{KEY_A}", salt=bytes(16)).open(Purpose.LOGIN, sealed, **PLACE)

    @pytest.mark.spec("05/SEC-3")
    def test_passphrase_is_stretched_once(self):
        setting = "main:pass:correct horse, battery staple: and more"
        keyring = Keyring.from_setting(setting, salt=SALT)
        sealed = keyring.seal(Purpose.LOGIN, b"v", **PLACE)
        start = time.thread_time()
        for _ in range(50):
            keyring.open(Purpose.LOGIN, sealed, **PLACE)
        assert time.thread_time() - start < 0.5
        assert Keyring.from_setting(setting, salt=SALT).open(Purpose.LOGIN, sealed, **PLACE) == b"v"

    def test_list_form_keeps_commas_of_passphrases(self):
        specs = parse_keyring(f"a:pass:{'x' * 20},y: {'z' * 20},b:{KEY_A}\nc:{KEY_B}")
        assert [spec.kid for spec in specs] == ["a", "b", "c"]
        assert specs[0].material.use(lambda data: data.endswith(b"z" * 20))

    @pytest.mark.parametrize(
        "setting",
        [
            "",
            KEY_A,
            "K1:" + KEY_A,
            "k1:AAAA",
            "k1:pass:short",
            f"k1:{KEY_A},k1:{KEY_B}",
            "a-key-id-too-long:" + KEY_A,
        ],
        ids=["empty", "no_kid", "capital_kid", "short_key", "short_phrase", "twice", "long_kid"],
    )
    def test_malformed_setting_is_refused_without_its_content(self, setting):
        with pytest.raises(KeyringMalformed) as caught:
            parse_keyring(setting)
        assert KEY_A not in caught.value.detail

    def test_single_form_takes_key_or_passphrase(self):
        assert parse_single_key(KEY_A)[0].material == Credential(bytes([1]) * 32)
        assert parse_single_key("p" * 40)[0].is_passphrase
        with pytest.raises(KeyringMalformed):
            parse_single_key("short")

    def test_generated_keyring_loads_and_hides_its_keys(self):
        text = generate_keyring()
        keyring = Keyring.from_setting(text, salt=SALT)
        assert keyring.kids == ("k1",)
        assert text[3:] not in repr(keyring) + repr(parse_keyring(text))


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"


class TestRedaction:
    @pytest.mark.spec("08/LOG-2")
    def test_keys_match_at_any_depth_without_case_and_separators(self):
        value = {
            "API-Key": "k",
            "outer": [{"clientSecret": "s", "Email": "a@example.com"}],
            "count": 3,
        }
        redacted, paths = redact(value)
        assert redacted == {
            "API-Key": "[REDACTED:CREDENTIAL]",
            "outer": [
                {"clientSecret": "[REDACTED:CREDENTIAL]", "Email": "[REDACTED:PII]"},
            ],
            "count": 3,
        }
        assert paths == ("API-Key", "outer[0].clientSecret", "outer[0].Email")
        assert value["API-Key"] == "k"

    @pytest.mark.spec("05/AUD-11")
    def test_words_and_names_stay_readable(self):
        value = {"name": "operator", "state": "RenewalInProgress", "code": "rate_limited"}
        assert redact(value) == (value, ())
        redacted, paths = redact({"state": "q8Zk2LxT0vYw4HnBq1RzUA", "code": "482913"})
        assert paths == ("state", "code")
        assert "482913" not in str(redacted)

    def test_public_keys_keep_their_value(self):
        value = {"ip_address": "192.0.2.7", "token": f"Bearer {JWT}"}
        redacted, paths = redact(value, public=("ip_address", "token"))
        assert redacted == {"ip_address": "192.0.2.7", "token": "Bearer [REDACTED:CREDENTIAL]"}
        assert paths == ("token",)
        assert redact({"email": "a@example.com"}, pii=False)[1] == ()

    @pytest.mark.parametrize(
        ("text", "kept", "gone"),
        [
            (f"key: {PEM} end", "end", "MHcCAQEE"),
            (PEM[:40], "", "MHc"),
            (f"got {JWT}.", "got", "eyJzdWIi"),
            ("Authorization: Bearer abc123def", "Authorization", "abc123def"),
            ("GET https://user:pw@ca.example.com/x", "ca.example.com/x", "pw@"),
            ("https://x.example/a?token=abcdef&b=1", "&b=1", "abcdef"),
            ("ctl_ab12_" + "0f" * 32, "", "0f0f0f"),
            ("whsec_" + "QUJD" * 8, "", "QUJD"),
        ],
        ids=["pem", "cut_pem", "jwt", "bearer", "userinfo", "query", "api_key", "webhook_secret"],
    )
    def test_patterns_in_text(self, text, kept, gone):
        result = redact_text(text)
        assert kept in result
        assert gone not in result
        assert "[REDACTED:CREDENTIAL]" in result

    def test_plain_sentences_are_untouched(self):
        for text in (
            "Basic authentication is off",
            "Bearer token missing",
            "see https://example.com/a?b=1 for user@example.com",
        ):
            assert redact_text(text) == text

    @pytest.mark.spec("06/SEC-6")
    def test_known_secrets_vanish_in_every_form(self):
        redactor = Redactor([Secret('p"w/1+x'), "tiny"])
        text = 'p"w/1+x p%22w%2F1%2Bx ' + json.dumps('p"w/1+x') + " tiny"
        assert redactor.text(text).count("[REDACTED:CREDENTIAL]") == 3
        assert "tiny" in redactor.text(text)

    def test_secret_objects_and_foreign_objects(self):
        redacted, paths = redact({"a": Secret("x"), "b": ValueError(f"bad {JWT}")})
        assert redacted == {"a": "********", "b": "bad [REDACTED:CREDENTIAL]"}
        assert paths == ("a", "b")

    def test_depth_is_limited(self):
        value: object = "x"
        for _ in range(5000):
            value = [value]
        assert "DEPTH" in str(redact(value)[0])

    @pytest.mark.parametrize(
        "text",
        [
            "eyJ" * 40_000,
            "-eyJ" * 30_000,
            "-----BEGIN PRIVATE KEY-----" * 4_000,
            "a://" * 30_000,
            "?token" * 20_000,
            "Bearer " * 20_000,
            "a" * 200_000,
        ],
    )
    def test_hostile_text_costs_linear_time(self, text):
        start = time.thread_time()  # of this thread alone, however busy the machine is
        redact({"state": text})
        redact_text(text)
        assert time.thread_time() - start < 2
