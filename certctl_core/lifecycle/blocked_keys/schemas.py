"""Bodies and answers of the blocked-keys room."""

from datetime import datetime

from pydantic import Field

from certctl_core.kernel.operations import Input, ListQuery, View
from certctl_core.lifecycle.blocked_keys.types import BlockSource
from certctl_core.pki.key_marks import KeyMark

SPKI_SHA256 = r"^[0-9a-f]{64}$"
LIST_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MAX_DIGESTS = 160_000
"""Characters of base64, 120,000 bytes: however JSON writes them, below the general limit of a body."""


class BlockKey(Input):
    """The key to block, in one of four forms."""

    spki_sha256: str | None = Field(
        None, pattern=SPKI_SHA256, description="SHA-256 of its SubjectPublicKeyInfo, in hex."
    )
    certificate_pem: str | None = Field(
        None, max_length=65_536, description="A certificate that carries it."
    )
    csr_pem: str | None = Field(
        None, max_length=65_536, description="A certificate request that carries it."
    )
    public_key_pem: str | None = Field(None, max_length=65_536, description="The key itself.")
    note: str = Field("", max_length=500, description="Why; shown to whoever looks at the list.")


class BlockedKeyView(View):
    """A key that is not certified."""

    spki_sha256: str
    source: BlockSource
    certificate_id: str | None
    note: str
    created_by: str
    created_at: datetime


class BlockedKeyQuery(ListQuery):
    """Filters of the list; ``q`` is the beginning of a digest."""

    source: BlockSource | None = Field(None, description="Only those that got there this way.")


class CreateKeyList(Input):
    """A new, empty list of weak keys."""

    name: str = Field(pattern=LIST_NAME, description="Its name, e.g. `debian-rsa-2048`.")
    mark: KeyMark = Field(
        description="What its digests are: `spki-sha256` (32 bytes), `openssl-blacklist` (the last "
        "10 bytes of the SHA-1 of `Modulus=…` and a newline), `badkeys` (the first 15 bytes of the "
        "SHA-256 of modulus, x coordinate or raw key)."
    )
    note: str = Field("", max_length=500, description="Where it is from; others see it.")


class AddDigests(Input):
    """More digests for a list."""

    digests: str = Field(
        min_length=4,
        max_length=MAX_DIGESTS,
        description="Base64 of digests of the list's length, end to end, in any order. Digests "
        "that are in the list stay, so the same call can be made again.",
    )


class KeyListView(View):
    """A list of weak keys."""

    name: str
    mark: KeyMark
    entries: int
    note: str
    created_by: str
    created_at: datetime
    updated_at: datetime
