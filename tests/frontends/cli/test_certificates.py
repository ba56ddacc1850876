"""``certctl issue`` and ``certctl certificates`` against a real server (spec 01 §13)."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from certctl_cli.reasons import REASONS
from cryptography import x509

from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.pki.reasons import CRLReason
from certctl_core.testing.factories import make_csr
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live, tls_server

FILES = {"key.pem", "cert.pem", "chain.pem", "fullchain.pem"}


def _names(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in san}


def _openssl(openssl: str, *arguments: str | Path) -> str:
    done = subprocess.run([openssl, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


class TestIssue:
    def test_writes_a_pair_that_openssl_accepts(
        self, certctl: Run, live: Live, tmp_path: Path, tool: Callable[[str], str]
    ) -> None:
        out = tmp_path / "web"
        result = certctl(
            "issue", "web.example.test", "--dns", "alt.example.test", "--out", str(out)
        )

        assert result.code == 0, result.err
        assert {path.name for path in out.iterdir()} == FILES
        assert stat.S_IMODE((out / "key.pem").stat().st_mode) == 0o600
        assert _names(out / "cert.pem") == {"web.example.test", "alt.example.test"}
        openssl = tool("openssl")
        verified = _openssl(
            openssl, "verify", "-x509_strict", "-purpose", "sslserver",
            "-CAfile", live.ca_crt, "-untrusted", out / "chain.pem", out / "cert.pem",
        )  # fmt: skip
        assert verified.strip().endswith(": OK")
        of_key = _openssl(openssl, "pkey", "-in", out / "key.pem", "-pubout")
        of_certificate = _openssl(openssl, "x509", "-in", out / "cert.pem", "-pubkey", "-noout")
        assert of_key == of_certificate

    @pytest.mark.parametrize(
        "kind", ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "ed25519"]
    )
    def test_makes_the_kind_of_key_that_was_asked_for(
        self, certctl: Run, tmp_path: Path, kind: str
    ) -> None:
        result = certctl(
            "issue", f"{kind}.example.test", "--key-type", kind, "--out", str(tmp_path), "--json"
        )

        version = result.json["version"]
        family, _, size = kind.partition("-")
        assert version["key_algorithm"].lower() == family
        if size:
            assert version["key_size"] == int(size.removeprefix("p"))

    def test_makes_a_post_quantum_key(self, certctl: Run, live: Live, tmp_path: Path) -> None:
        rule = {"algorithm": "ML-DSA", "min_size": 44}
        profile = live.core.call(
            "profiles.create", body={"name": "Post-quantum", "allowed_key_algorithms": [rule]}
        )
        result = certctl(
            "issue", "pq.example.test", "--key-type", "ml-dsa-65", "--profile", profile.id,
            "--out", str(tmp_path), "--json",
        )  # fmt: skip

        assert result.code == 0, result.err
        version = result.json["version"]
        assert (version["key_algorithm"], version["key_size"]) == ("ML-DSA", 65)

    @pytest.mark.spec("02/CERT-4")
    def test_the_subject_carries_what_the_profile_allows(
        self, certctl: Run, live: Live, tmp_path: Path
    ) -> None:
        body = {"name": "Departments", "allowed_subject_attributes": ["O", "C"]}
        profile = live.core.call("profiles.create", body=body)
        subject = "OU=Web,O=Example,C=DE"
        issue = ("issue", "dept.example.test", "--profile", profile.id, "--out", str(tmp_path))
        result = certctl(*issue, "--subject", subject)

        assert result.code == 0, result.err
        leaf = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
        assert leaf.subject.rfc4514_string() == "CN=dept.example.test,O=Example,C=DE"
        assert "Subject beside CN" in certctl("profiles", "show", profile.id).out
        preview = certctl("profiles", "preview", profile.id, "--subject", subject)
        assert "warning: Left out of the subject: OU." in preview.out
        for wrong in (("--subject", "Example"), ("--subject", subject, "--csr", __file__)):
            assert certctl(*issue, "--force", *wrong).code == 2

    def test_renews_what_a_request_names(self, certctl: Run, tmp_path: Path) -> None:
        csr, out = tmp_path / "my.csr", tmp_path / "out"
        csr.write_text(make_csr("again.example.test"))
        first = certctl("issue", "--csr", str(csr), "--out", str(out), "--json")
        csr.write_text(make_csr("again.example.test"))
        again = certctl(
            "issue", "--csr", str(csr), "--renew", "--force", "--out", str(out), "--json"
        )

        assert again.code == 0, again.err
        versions = [found.json["version"] for found in (first, again)]
        assert len({version["certificate_id"] for version in versions}) == 1
        assert len({version["id"] for version in versions}) == 2

    def test_takes_names_of_every_kind(self, certctl: Run, tmp_path: Path) -> None:
        result = certctl(
            "issue", "kinds.example.test", "192.0.2.1", "--ip", "2001:db8::1",
            "--email", "ops@example.test", "--uri", "https://example.test/x",
            "--out", str(tmp_path),
        )  # fmt: skip

        assert result.code == 0, result.err
        assert _names(tmp_path / "cert.pem") == {
            "kinds.example.test",
            "192.0.2.1",
            "2001:db8::1",
            "ops@example.test",
            "https://example.test/x",
        }

    def test_sends_no_key(self, certctl: Run, live: Live, tmp_path: Path) -> None:
        certctl("issue", "secret.example.test", "--out", str(tmp_path))
        body = (tmp_path / "key.pem").read_text().splitlines()[1]

        assert all(
            body.encode() not in path.read_bytes()
            for path in live.core.settings.data_dir.rglob("*")
            if path.is_file()
        )

    def test_uses_my_request_and_writes_no_key(self, certctl: Run, tmp_path: Path) -> None:
        csr = tmp_path / "my.csr"
        csr.write_text(make_csr("mine.example.test"))
        out = tmp_path / "out"
        result = certctl("issue", "--csr", str(csr), "--out", str(out))

        assert result.code == 0, result.err
        assert {path.name for path in out.iterdir()} == FILES - {"key.pem"}
        assert _names(out / "cert.pem") == {"mine.example.test"}

    def test_reads_the_request_from_standard_input(self, certctl: Run, tmp_path: Path) -> None:
        result = certctl(
            "issue", "--csr", "-", "--out", str(tmp_path), stdin=make_csr("in.example.test")
        )

        assert result.code == 0, result.err

    @pytest.mark.parametrize("name", sorted(FILES))
    def test_never_replaces_a_file_unasked(self, certctl: Run, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("precious")
        result = certctl("issue", "stay.example.test", "--out", str(tmp_path))

        assert result.code == 1
        assert str(tmp_path / name) in result.err
        assert "--force" in result.err
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "precious"

    def test_force_replaces_key_and_certificate(self, certctl: Run, tmp_path: Path) -> None:
        for name in FILES:
            (tmp_path / name).write_text("old")
        (tmp_path / "key.pem").chmod(0o644)
        result = certctl("issue", "force.example.test", "--out", str(tmp_path), "--force")

        assert result.code == 0, result.err
        assert {path.name for path in tmp_path.iterdir()} == FILES
        assert "PRIVATE KEY" in (tmp_path / "key.pem").read_text()
        assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600

    def test_a_refusal_leaves_the_old_key_and_no_new_one(
        self, certctl: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "key.pem").write_text("old")
        arguments = ("issue", "no.example.test", "--profile", "prof-none", "--out", str(tmp_path))
        forced = certctl(*arguments, "--force")

        assert forced.code != 0
        assert "prof-none" in forced.err
        assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]
        assert (tmp_path / "key.pem").read_text() == "old"

        fresh = tmp_path / "fresh" / "deep"
        assert certctl(*arguments[:-1], str(fresh)).code != 0
        assert not fresh.parent.exists()
        fresh.parent.mkdir()
        assert certctl(*arguments[:-1], str(fresh)).code != 0
        assert list(fresh.parent.iterdir()) == [], "what was there stays"

    def test_an_answer_that_is_none_leaves_the_key(self, bare: Run, tmp_path: Path) -> None:
        def broken(_environ: object, start: Callable[..., object]) -> list[bytes]:
            start("500 Broken", [("Content-Type", "text/plain")])
            return [b"no"]

        out = tmp_path / "out"
        with tls_server(broken, tmp_path) as (url, ca_path):
            where = ("--server", url, "--ca-bundle", str(ca_path))
            result = bare(*where, "issue", "lost.example.test", "--out", str(out))

        assert result.code == 1
        assert [path.name for path in out.iterdir()] == ["key.pem"]
        assert str(out / "key.pem") in result.err

    def test_a_server_that_is_not_there_leaves_nothing(self, bare: Run, tmp_path: Path) -> None:
        where = ("--server", "https://127.0.0.1:1")
        result = bare(*where, "issue", "gone.example.test", "--out", str(tmp_path / "out"))

        assert result.code == 1
        assert not (tmp_path / "out").exists()

    def test_a_name_that_is_taken_asks_for_renew(self, certctl: Run, tmp_path: Path) -> None:
        arguments = ("issue", "twice.example.test", "--out")
        first = certctl(*arguments, str(tmp_path / "a"), "--json").json
        again = certctl(*arguments, str(tmp_path / "b"))
        renewed = certctl(*arguments, str(tmp_path / "c"), "--renew", "--json").json

        assert again.code == 1
        assert "--renew" in again.err
        assert not (tmp_path / "b").exists()
        assert renewed["certificate"]["id"] == first["certificate"]["id"]
        assert renewed["version"]["id"] != first["version"]["id"]

    def test_renew_issues_what_does_not_exist_yet(self, certctl: Run, tmp_path: Path) -> None:
        result = certctl("issue", "fresh.example.test", "--renew", "--out", str(tmp_path))

        assert result.code == 0, result.err

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("bad_name!",),
            ("ok.example.test", "--ip", "not-an-ip"),
            ("ok.example.test", "--email", "nobody"),
            ("ok.example.test", "--key-type", "rsa-512"),
        ],
        ids=["no_name", "bad_name", "bad_address", "bad_mail", "weak_key"],
    )
    def test_a_command_line_that_makes_no_sense_asks_no_server(
        self, bare: Run, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        result = bare("issue", *arguments, "--out", str(tmp_path / "out"))

        assert result.code == 2
        assert "hint: certctl issue --help" in result.err
        assert not (tmp_path / "out").exists()


class TestCertificates:
    @pytest.fixture
    def name(self, certctl: Run, tmp_path: Path, request: pytest.FixtureRequest) -> str:
        """A certificate of this test's own."""
        name = f"{request.node.originalname.replace('_', '-')[5:60]}.example.test"
        result = certctl("issue", "k.example.test", "--name", name, "--out", str(tmp_path / "own"))
        assert result.code == 0, result.err
        return name

    def test_shows_one_by_name_and_by_id(self, certctl: Run, name: str) -> None:
        by_name = certctl("certificates", "show", name, "--json").json
        by_id = certctl("certificates", "show", by_name["id"])

        assert by_name["name"] == name
        assert by_id.code == 0
        assert name in by_id.out
        assert "Serial:" in by_id.out

    def test_revokes_after_a_question(self, certctl: Run, name: str) -> None:
        unasked = certctl("certificates", "revoke", name, "--reason", "superseded")
        sure = certctl(
            "certificates", "revoke", name, "--reason", "KEYCOMPROMISE", "--yes", "--json"
        )

        assert unasked.code == 2
        assert "--yes" in unasked.err
        assert sure.json["reason"] == "keyCompromise"
        shown = certctl("certificates", "show", name, "--json").json
        assert (shown["status"], shown["revocation_reason"]) == ("Revoked", "keyCompromise")

    @pytest.mark.spec("02/REV-1")
    @pytest.mark.parametrize(
        ("typed", "meant"),
        [
            ("caCompromise", "cACompromise"),
            ("key_compromise", "keyCompromise"),
            ("privilege-withdrawn", "privilegeWithdrawn"),
        ],
    )
    def test_reasons_are_understood_in_every_spelling(
        self, certctl: Run, tmp_path: Path, typed: str, meant: str
    ) -> None:
        name = f"{meant.lower()}.example.test"
        certctl("issue", name, "--out", str(tmp_path))
        done = certctl("certificates", "revoke", name, "--reason", typed, "-y", "--json")

        assert done.code == 0, done.err
        assert done.json["reason"] == meant

    def test_reasons_are_shown_as_the_standard_spells_them(self, certctl: Run) -> None:
        assert "|keyCompromise|cACompromise|" in certctl("certificates", "revoke", "--help").out
        refused = certctl("certificates", "revoke", "x", "--reason", "removeFromCRL", "-y")
        assert refused.code == 2
        assert "'keyCompromise'" in refused.err

    def test_capitals_in_a_name_make_no_difference(self, certctl: Run, name: str) -> None:
        shown = certctl("certificates", "show", name.upper(), "--json")

        assert shown.code == 0, shown.err
        assert shown.json["name"] == name

    def test_a_reason_must_be_given(self, certctl: Run, name: str) -> None:
        assert certctl("certificates", "revoke", name, "--yes").code == 2
        assert certctl("certificates", "revoke", name, "-y", "--reason", "why").code == 2

    def test_hold_can_be_released(self, certctl: Run, name: str) -> None:
        certctl("certificates", "revoke", name, "--reason", "certificateHold", "-y")
        released = certctl("certificates", "unhold", name)

        assert released.code == 0, released.err
        assert certctl("certificates", "show", name, "--json").json["status"] == "Active"

    def test_a_hold_can_be_made_final(self, certctl: Run, name: str) -> None:
        certctl("certificates", "revoke", name, "--reason", "certificateHold", "-y")
        revoked = certctl("certificates", "revoke", name, "--reason", "superseded", "-y")

        assert revoked.code == 0, revoked.err
        shown = certctl("certificates", "show", name, "--json").json
        assert (shown["status"], shown["revocation_reason"]) == ("Revoked", "superseded")
        assert certctl("certificates", "unhold", name).code != 0

    def test_renews_from_a_request(self, certctl: Run, name: str, tmp_path: Path) -> None:
        csr = tmp_path / "new.csr"
        csr.write_text(make_csr("k.example.test"))
        renewed = certctl("certificates", "renew", name, "--csr", str(csr), "--json").json
        versions = certctl("certificates", "versions", name, "--json").json

        assert renewed["status"] == "issued"
        assert [row["is_current"] for row in versions["data"]] == [True, False]

    def test_says_who_can_renew(self, certctl: Run, name: str) -> None:
        result = certctl("certificates", "renew", name)

        assert result.code == 1
        assert "CSR" in result.err

    def test_downloads_to_the_terminal_a_directory_and_a_file(
        self, certctl: Run, name: str, tmp_path: Path
    ) -> None:
        shown = certctl("certificates", "download", name)
        certctl("certificates", "download", name, "--out", f"{tmp_path}/d/")
        certctl("certificates", "download", name, "--out", str(tmp_path / "all.pem"))

        own = (tmp_path / "own" / "fullchain.pem").read_text()
        assert shown.out == own
        assert (tmp_path / "all.pem").read_text() == own
        assert (tmp_path / "d" / "cert.pem").read_text() in own
        again = certctl("certificates", "download", name, "--out", str(tmp_path / "all.pem"))
        assert again.code == 1

    def test_downloads_an_older_version(self, certctl: Run, name: str, tmp_path: Path) -> None:
        before = certctl("certificates", "show", name, "--json").json["current_version_id"]
        csr = tmp_path / "new.csr"
        csr.write_text(make_csr("k.example.test"))
        certctl("certificates", "renew", name, "--csr", str(csr))
        old = certctl("certificates", "download", name, "--version", before)

        assert old.out == (tmp_path / "own" / "fullchain.pem").read_text()
        assert old.out != certctl("certificates", "download", name).out

    def test_archives(self, certctl: Run, name: str) -> None:
        assert certctl("certificates", "archive", name, "-y").code == 0
        assert certctl("certificates", "show", name).code == 3

    @pytest.mark.parametrize("verb", ["show", "versions", "download", "renew", "unhold"])
    def test_what_does_not_exist_is_not_found(self, certctl: Run, verb: str) -> None:
        result = certctl("certificates", verb, "no such thing")

        assert result.code == 3
        assert "no such thing" in result.err
        assert "hint: 'certctl certificates list'" in result.err


def test_reasons_are_those_of_the_server() -> None:
    assert tuple(CRLReason) == REASONS


@pytest.mark.spec("02/REV-1")
def test_a_stolen_key_is_followed_to_every_certificate(certctl: Run, tmp_path: Path) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    ids = []
    for name in ("first", "second", "third"):
        csr = tmp_path / f"{name}.csr"
        csr.write_text(make_csr(f"{name}.key.example.com", key=key))
        out = str(tmp_path / name)
        ids.append(certctl("issue", "--csr", str(csr), "--out", out, "--json").json["certificate"])
    others = [found["id"] for found in ids[1:]]
    revoke = ("certificates", "revoke", "first.key.example.com", "--reason", "keyCompromise")

    answer = certctl(*revoke, "--yes")

    assert "2 certificate(s) are still valid with this key" in answer.err
    assert all(name in answer.err for name in others)
    command = answer.err.partition("Revoke them too: certctl ")[2].split()
    digest = command[command.index("--key") + 1]
    assert certctl("certificates", "list", "--key", digest, "--json").json["total"] == 2
    done = certctl(*command, "--yes")
    assert (done.code, done.out.strip()) == (
        0,
        "Revoked 2 certificate(s); 0 revoked or archived before.",
    )
