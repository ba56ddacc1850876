"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint)."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certctl_core.kernel.audit import BadNote, Checkpoint, NoteSigner, NoteVerifier
from certctl_core.kernel.audit.notes import peek

# The example key and note of the Go module golang.org/x/mod/sumdb/note, which the C2SP
# specification was written from.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo"
    "tpRZb6KE6RyyBwJnAM=\n"
)
POINT = Checkpoint(origin="certctl/test", tree_size=7, root_hash=bytes(range(32)))


@pytest.fixture
def signer():
    return NoteSigner("certctl/test", Ed25519PrivateKey.generate())


@pytest.mark.spec("05/AUD-25")
def test_the_example_of_the_specification_opens():
    verifier = NoteVerifier.parse(VKEY)
    assert verifier.key_id.hex() == "c74f20a3"
    assert verifier.vkey == VKEY
    assert verifier.open(NOTE) == TEXT


@pytest.mark.spec("05/AUD-25")
def test_a_checkpoint_has_the_form_of_the_specification(signer):
    note = signer.sign(POINT)
    origin, size, root, empty, signature, end = note.split("\n")
    assert (origin, size, empty, end) == ("certctl/test", "7", "", "")
    assert base64.b64decode(root) == POINT.root_hash
    dash, name, data = signature.split(" ")
    assert (dash, name) == ("—", "certctl/test")
    assert base64.b64decode(data)[:4] == signer.verifier.key_id
    assert signer.verifier.checkpoint(note) == peek(note) == POINT


def test_a_second_signature_does_no_harm(signer):
    other = NoteSigner("witness.example.com", Ed25519PrivateKey.generate())
    note = signer.sign(POINT) + other.sign(POINT).rpartition("\n\n")[2]
    assert signer.verifier.checkpoint(note) == POINT
    assert other.verifier.checkpoint(note) == POINT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n7\n", "\n8\n"),
        ("certctl/test\n7", "certctl/prod\n7"),
        ("— certctl", "- certctl"),
        ("\n\n", "\n"),
        ("— certctl/test ", "— certctl/else "),
    ],
    ids=["size", "origin", "dash", "no_gap", "other_name"],
)
def test_altered_notes_are_refused(signer, old, new):
    note = signer.sign(POINT).replace(old, new, 1)
    with pytest.raises(BadNote):
        signer.verifier.checkpoint(note)


@pytest.mark.parametrize("text", ["a\n007\nAAAA\n", "a\n1\nAAAA\n", "\n1\n\n", "a\n-1\nAAAA\n"])
def test_texts_that_are_no_checkpoint_are_refused(text):
    with pytest.raises(BadNote):
        peek(f"{text}\n— a AAAAAAAA\n")


@pytest.mark.parametrize(
    "vkey", ["", "name", "name+c74f20a3+AAAA", VKEY.replace("c74f20a3", "c74f20a4")]
)
def test_malformed_keys_are_refused(vkey):
    with pytest.raises(BadNote):
        NoteVerifier.parse(vkey)


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_a_key_name_has_neither_space_nor_plus(name):
    with pytest.raises(ValueError, match="name"):
        NoteSigner(name, Ed25519PrivateKey.generate())
