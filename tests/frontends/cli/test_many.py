"""``certctl certificates bulk-revoke`` and ``certctl blocked-keys`` (02 REV-4, PROF-3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from certctl_core.pki.keys import KeyAlgorithm, generate, spki_sha256
from certctl_core.testing.factories import make_csr
from tests.core.blocked_keys import debian_weak
from tests.frontends.cli.conftest import Run


@pytest.mark.spec("02/REV-4")
def test_a_bulk_revocation_is_counted_confirmed_and_done(certctl: Run, tmp_path: Path) -> None:
    ids = []
    for number in range(3):
        out = tmp_path / str(number)
        result = certctl("--json", "issue", f"bulk{number}.example.test", "--out", str(out))
        ids.append(result.json["certificate"]["id"])
    some = [part for name in (*ids, "mc-none") for part in ("--id", name)]
    command = ("certificates", "bulk-revoke", "--reason", "superseded", *some)

    counted = certctl(*command, "--dry-run")
    assert (counted.code, counted.out) == (
        1,
        "3 match: 3 to revoke, 0 revoked or archived before.\n" + counted.out.partition("\n")[2],
    )
    assert "mc-none" in counted.out
    refused = certctl(*command, "--expect", "2", "--yes")
    assert refused.code == 1
    assert "3 certificate(s) match, not 2" in refused.err

    done = certctl("--json", *command, "--yes")
    assert done.code == 1
    assert (done.json["total_revoked"], done.json["total_failed"]) == (3, 1)
    again = certctl(*command[:-2], "--yes")
    assert (again.code, again.out) == (
        0,
        "Revoked 0 certificate(s); 3 revoked or archived before.\n",
    )


@pytest.mark.spec("02/PROF-3")
def test_a_key_is_blocked_and_unblocked(certctl: Run, tmp_path: Path) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    request = tmp_path / "request.csr"
    request.write_text(make_csr("blocked.example.test", key=key))
    digest = spki_sha256(key.public_key())

    made = certctl("--json", "blocked-keys", "block", str(request), "--note", "leaked")
    assert made.json["spki_sha256"] == digest
    refused = certctl("issue", "--csr", str(request), "--out", str(tmp_path / "out"))
    assert refused.code == 1
    assert "the key is blocked" in refused.err
    assert digest in certctl("blocked-keys", "list").out
    assert "leaked" in certctl("blocked-keys", "show", digest.upper()).out

    gone = certctl("blocked-keys", "unblock", digest, "--yes")
    assert gone.out == f"Unblocked {digest}.\n"
    assert certctl("issue", "--csr", str(request), "--out", str(tmp_path / "out")).code == 0
    wrong = certctl("blocked-keys", "block", str(tmp_path / "none.pem"))
    assert wrong.code == 2
    assert "neither a SHA-256 in hex nor a file" in wrong.err


@pytest.mark.spec("02/PROF-3")
def test_a_list_of_weak_keys_is_imported(certctl: Run, tmp_path: Path) -> None:
    request = tmp_path / "weak.csr"
    request.write_text(debian_weak.CSR)
    file = tmp_path / "blacklist.RSA-2048"
    # As in the package: comments first, then one digest a line.
    file.write_text("# weak keys\n\n00005890bc78bcbee3ca\n0855e3cc8ccc0fa105f4\n")
    done = certctl("blocked-keys", "import", str(file), "--note", "CVE-2008-0166")
    assert (done.code, done.out) == (
        0,
        f"{file}: 2 digests, 2 of them new in blacklist.rsa-2048.\n",
    )
    again = certctl("--json", "blocked-keys", "import", str(file))
    assert (again.json["entries"], again.json["mark"]) == (2, "openssl-blacklist")
    refused = certctl("issue", "--csr", str(request), "--out", str(tmp_path / "out"))
    assert refused.code == 1
    assert "on the list of weak keys 'blacklist.rsa-2048'" in refused.err
    assert "blacklist.rsa-2048" in certctl("blocked-keys", "lists").out
    assert "CVE-2008-0166" in certctl("blocked-keys", "show-list", "blacklist.rsa-2048").out

    gone = certctl("blocked-keys", "delete-list", "blacklist.rsa-2048", "--yes")
    assert gone.out == "Deleted blacklist.rsa-2048.\n"
    assert certctl("issue", "--csr", str(request), "--out", str(tmp_path / "out")).code == 0


@pytest.mark.spec("02/PROF-3")
def test_lists_of_other_forms_are_told_from_the_file(certctl: Run, tmp_path: Path) -> None:
    spki = tmp_path / "Leaked keys.txt"
    spki.write_text("A" * 64 + "\n" + "b" * 64 + "\n" + "a" * 64)
    blocklist = tmp_path / "blocklist.dat"
    blocklist.write_bytes(b"".join(bytes([n]) * 15 + b"\1" for n in range(200, 210)) * 2)

    texts = certctl("--json", "blocked-keys", "import", str(spki))
    assert (texts.json["name"], texts.json["mark"]) == ("leaked-keys.txt", "spki-sha256")
    assert texts.json["entries"] == 2
    binary = certctl("--json", "blocked-keys", "import", str(blocklist), "--name", "badkeys")
    assert (binary.json["name"], binary.json["mark"]) == ("badkeys", "badkeys")
    assert binary.json["entries"] == 10
    mixed = certctl("blocked-keys", "import", str(spki), "--name", "badkeys")
    assert mixed.code == 2
    assert "is one of badkeys digests, the file of spki-sha256" in mixed.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither a list of hexadecimal digests nor a badkeys blocklist"),
        (b"# nothing\n", "holds no digest"),
        (b"0855e3cc8ccc0fa105f4\nzz\n", "line 2 of"),
        (b"0855e3cc8ccc0fa105f4\n" + b"aa" * 32 + b"\n", "has 64 digits instead of 20 or 64"),
        (b"abcd\n", "has 4 digits"),
        (b"\xff" * 33, "neither a list"),
    ],
    ids=["empty", "comments", "no_hex", "two_kinds", "short", "odd_size"],
)
def test_what_is_no_list_of_weak_keys_is_refused(
    certctl: Run, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "list"
    file.write_bytes(content)
    refused = certctl("blocked-keys", "import", str(file))
    assert refused.code == 2
    assert said in " ".join(refused.err.split())


@pytest.mark.spec("02/TRUST-5")
def test_without_trust_bundles_there_is_nothing_to_list(certctl: Run) -> None:
    listed = certctl("trust", "list")
    assert (listed.code, listed.out + listed.err) == (0, "No trust bundles are configured.\n")
    assert certctl("--json", "trust", "list").json == {"data": []}
    refused = certctl("trust", "reload", "outbound")
    assert refused.code == 3
    assert "There is no trust bundle 'outbound'" in refused.err
