"""The Merkle tree against the vectors of the Certificate Transparency project and against itself."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.kernel.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_ranges,
    decompose,
    fold,
    inclusion_ranges,
    is_consistent,
    leaf_hash,
    node_hash,
    range_root,
    root_of_inclusion,
)

# The test leaves and roots that implementations of RFC 6962 share (certificate-transparency,
# merkle_tree_test).
LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def plain_root(hashes):
    """RFC 6962 §2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(plain_root(hashes[:split]), plain_root(hashes[split:]))


def some(count):
    return [leaf_hash(str(number).encode()) for number in range(count)]


def reader(hashes):
    return lambda level, index: plain_root(hashes[index << level : (index + 1) << level])


@pytest.mark.spec("05/AUD-21")
def test_roots_of_the_shared_vectors():
    edge = Frontier()
    assert edge.root() == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        edge.append(leaf_hash(bytes.fromhex(leaf)))
        assert edge.root().hex() == root


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_range_has_the_root_of_its_parts(low, length):
    hashes = some(low + length)
    pieces = list(decompose(low, low + length))
    covered = [
        leaf for level, index in pieces for leaf in range(index << level, (index + 1) << level)
    ]
    assert covered == list(range(low, low + length))
    edge = Frontier()
    for level, index in decompose(0, low):
        edge.append(reader(hashes)(level, index), level)
    for level, index in pieces:
        edge.append(reader(hashes)(level, index), level)
    assert edge.root() == plain_root(hashes)


@given(st.data())
def test_inclusion_proofs_lead_to_the_root_and_no_other_leaf_does(data):
    size = data.draw(st.integers(1, 130))
    index = data.draw(st.integers(0, size - 1))
    hashes = some(size)
    proof = [range_root(a, b, reader(hashes)) for a, b in inclusion_ranges(index, size)]
    assert root_of_inclusion(hashes[index], index=index, size=size, proof=proof) == plain_root(
        hashes
    )
    assert root_of_inclusion(
        leaf_hash(b"forged"), index=index, size=size, proof=proof
    ) != plain_root(hashes)


@pytest.mark.parametrize(("index", "size", "cut"), [(7, 7, 0), (3, 8, 1), (0, 1, -1)])
def test_malformed_inclusion_proofs_are_refused(index, size, cut):
    proof = [bytes(32)] * (len(inclusion_ranges(min(index, size - 1), size)) - cut)
    with pytest.raises(ValueError, match=r"leaf|path"):
        root_of_inclusion(bytes(32), index=index, size=size, proof=proof)


@given(st.data())
def test_consistency_proofs_accept_growth_only(data):
    second = data.draw(st.integers(1, 130))
    first = data.draw(st.integers(1, second))
    hashes = some(second)
    proof = [range_root(a, b, reader(hashes)) for a, b in consistency_ranges(first, second)]
    roots = {"first_root": plain_root(hashes[:first]), "second_root": plain_root(hashes)}
    assert is_consistent(first=first, second=second, proof=proof, **roots)
    forged = [leaf_hash(b"forged"), *hashes[1:first]]
    assert not is_consistent(
        first=first,
        second=second,
        proof=proof,
        first_root=plain_root(forged),
        second_root=roots["second_root"],
    )
    assert not is_consistent(first=first, second=second, proof=[*proof, bytes(32)], **roots)


def test_a_subtree_is_refused_where_it_does_not_fit():
    edge = Frontier()
    edge.append(bytes(32))
    with pytest.raises(ValueError, match="begins"):
        edge.append(bytes(32), level=1)


def test_folding_nothing_is_the_empty_root():
    assert fold([]) == EMPTY_ROOT
