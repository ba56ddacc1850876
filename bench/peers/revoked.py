"""Revocations by the hundred thousand, written straight into the product's database."""

from __future__ import annotations

import hashlib

from cryptography import x509

from bench.model import Broken
from bench.peers.product import Product

_ENTRY_BYTES = 49
# A serial of 16 bytes, the time and the reason keyCompromise: what openssl lists in its file, too.
_ROWS = """
INSERT INTO certificate_revocations (id, serial_number, reason, reason_code, revoked_by, revoked_at, issuer_id,
  ca_key_id, issuer_notified, not_after, on_crl, entry_der, listed_in, created_at)
SELECT 'rev-bench-' || n, serial, 'keyCompromise', 1, 'bench', '2026-11-01T00:00:00Z', 'iss-local', %(ca)s, true,
  now() + interval '80 days', true,
  decode('302f0210' || serial || '170d3236313130313030303030305a300c300a0603551d1504030a0101', 'hex'), 1, now()
FROM (SELECT n, '4' || substr(md5(n::text), 2) AS serial FROM generate_series(1, %(rows)s) AS n) AS made
"""


def fill(server: Product, entries: int) -> None:
    """Revoke so many certificates of the first CA."""
    import psycopg

    ski = server.authority().extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    with psycopg.connect(server.database) as connection:
        connection.execute(_ROWS, {"ca": ski.digest.hex(), "rows": entries})
        connection.execute("DELETE FROM crl_cache")
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM (ANALYZE) certificate_revocations")
    server.call("POST", "/admin/crl/iss-local/regenerate")
    # From the row: a fetch would count as memory of the server.
    with psycopg.connect(server.database) as connection:
        row = connection.execute("SELECT crl_der FROM crl_cache").fetchone()
    found = x509.load_der_x509_crl(row[0] if row else b"")
    key = server.authority().public_key()
    if len(found) != entries or not found.is_signature_valid(key):  # type: ignore[arg-type] # a CA's
        raise Broken(what="certctl", why=f"no valid CRL of {entries} entries")


def forget_list(server: Product) -> None:
    """Drop the stored list, so that the next one is made from the table."""
    import psycopg

    with psycopg.connect(server.database) as connection:
        connection.execute("DELETE FROM crl_cache")


def size_of(entries: int) -> int:
    """Bytes of a list of so many entries."""
    return entries * _ENTRY_BYTES + 400


def serial(number: int) -> str:
    """The serial number of an entry, as in the statement above."""
    return "4" + hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()[1:]
