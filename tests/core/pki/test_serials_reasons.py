"""Serial numbers (02 §0, CERT-2) and revocation reasons (02 §10)."""

from __future__ import annotations

import contextlib
import re
import subprocess

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki.errors import MalformedSerial, PKIError, UnknownReason
from certctl_core.pki.reasons import CRLReason, parse_reason, reason_of_code, reason_of_flag
from certctl_core.pki.serials import canonical, new_serial, to_int


class TestSerials:
    @pytest.mark.spec("02/CERT-2")
    def test_new_serials_are_positive_and_fit_20_octets(self):
        drawn = {new_serial() for _ in range(2000)}
        assert len(drawn) == 2000
        assert all(0 < serial < 1 << 159 for serial in drawn)
        assert max(serial.bit_length() for serial in drawn) == 159

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("0", "00"),
            ("00", "00"),
            (0, "00"),
            ("f", "0f"),
            ("0x0F", "0f"),
            ("0XabC", "0abc"),
            ("00:0a:BC", "0abc"),
            ("a:b", "0a0b"),
            ("000000000001", "01"),
            (" 1f\n", "1f"),
            (255, "ff"),
            (1 << 158, "40" + "0" * 38),
        ],
    )
    def test_every_spelling_has_one_form(self, given, expected):
        assert canonical(given) == expected
        assert canonical(to_int(expected)) == expected

    @pytest.mark.parametrize(
        "bad",
        ["", " ", "0x", "x1", "g1", ":", "1:", ":1", "abc:1", "-1", "1 2", "١", "1_0", "f" * 200],
    )
    def test_other_texts_are_refused(self, bad):
        with pytest.raises(MalformedSerial):
            canonical(bad)

    def test_negative_and_giant_numbers_are_refused(self):
        for number in (-1, 1 << 512):
            with pytest.raises(MalformedSerial):
                canonical(number)

    @given(st.integers(min_value=0, max_value=(1 << 160) - 1))
    def test_round_trip(self, number):
        text = canonical(number)
        assert re.fullmatch(r"([0-9a-f]{2})+", text)
        assert to_int(text) == number
        assert text == "00" or not text.startswith("00")

    @given(st.text())
    def test_garbage_never_escapes_the_error_tree(self, text):
        with contextlib.suppress(PKIError):
            canonical(text)

    def test_agrees_with_openssl(self, tmp_path):
        for serial in (1, 0x80, 0xABC, 1 << 150):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout",
                 tmp_path / "k", "-out", tmp_path / "c", "-subj", "/CN=x", "-set_serial",
                 str(serial)],
                check=True, capture_output=True,
            )  # fmt: skip
            shown = subprocess.check_output(
                ["openssl", "x509", "-in", tmp_path / "c", "-noout", "-serial"], text=True
            )
            assert shown.strip().removeprefix("serial=").lower() == canonical(serial)


class TestReasons:
    def test_the_table_is_rfc_5280(self):
        assert {reason.value: reason.code for reason in CRLReason} == {
            "unspecified": 0,
            "keyCompromise": 1,
            "cACompromise": 2,
            "affiliationChanged": 3,
            "superseded": 4,
            "cessationOfOperation": 5,
            "certificateHold": 6,
            "privilegeWithdrawn": 9,
        }

    def test_flags_round_trip(self):
        for reason in CRLReason:
            assert reason.flag.value == reason.value
            assert reason_of_flag(reason.flag) is reason
            assert reason_of_code(reason.code) is reason

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("cACompromise", CRLReason.CA_COMPROMISE),
            ("caCompromise", CRLReason.CA_COMPROMISE),
            ("ca_compromise", CRLReason.CA_COMPROMISE),
            ("key_compromise", CRLReason.KEY_COMPROMISE),
            ("cessation_of_operation", CRLReason.CESSATION_OF_OPERATION),
            ("affiliation_changed", CRLReason.AFFILIATION_CHANGED),
            ("certificate_hold", CRLReason.CERTIFICATE_HOLD),
            ("privilege_withdrawn", CRLReason.PRIVILEGE_WITHDRAWN),
            ("superseded", CRLReason.SUPERSEDED),
        ],
    )
    def test_accepted_spellings(self, text, reason):
        assert parse_reason(text) is reason

    @pytest.mark.parametrize(
        "text",
        ["", "removeFromCRL", "aACompromise", "remove_from_crl", "aa_compromise", "KeyCompromise",
         "keycompromise", "1", "c_acompromise", "{reason}"],
    )  # fmt: skip
    def test_everything_else_is_refused(self, text):
        with pytest.raises(UnknownReason):
            parse_reason(text)

    @pytest.mark.parametrize("code", [-1, 7, 8, 10, 11])
    def test_reserved_codes_are_refused(self, code):
        with pytest.raises(UnknownReason):
            reason_of_code(code)

    def test_reserved_flags_are_refused(self):
        for flag in (x509.ReasonFlags.remove_from_crl, x509.ReasonFlags.aa_compromise):
            with pytest.raises(UnknownReason):
                reason_of_flag(flag)
