"""The runbook's recovery of CRLs, typed while relying parties fetch them (02 §16)."""

from __future__ import annotations

import threading
from typing import Self

import pytest
from cryptography import x509

from tests.machine import eventually
from tests.system.house import SHOW_CRL, House, ca_of, number, serials

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("server")]

DIAGNOSE_CRL = """\
psql -c "SELECT issuer_id, length(crl_der), this_update, next_update,
generated_at, generation_duration_ms, revoked_count
FROM crl_cache WHERE issuer_id = 'iss-local';"
psql -c "SELECT started_at, succeeded, error, duration_ms
FROM crl_generation_events
WHERE issuer_id = 'iss-local'
ORDER BY started_at DESC LIMIT 10;"
"""
RECOVER_CRL = """\
psql -c "DELETE FROM crl_cache WHERE issuer_id = 'iss-local';"
"""
DAMAGE = (
    'psql -c "TRUNCATE crl_cache;"',
    """psql -c "UPDATE crl_cache SET crl_der = 'garbage';\"""",
    'psql -c "UPDATE crl_cache SET crl_der = <all but ten bytes>;"',
    'psql -c "DELETE FROM crl_cache; INSERT INTO crl_cache SELECT * FROM kept_list;"',
    'psql -c "UPDATE crl_cache SET crl_der = (SELECT crl_der FROM kept_list);"',
)
"""What happens to the row of a CRL: gone, garbage, cut off, an older list with and without its row."""
CUT_OFF = {
    "postgres": "substring(crl_der from 1 for length(crl_der) - 10)",
    "sqlite": "substr(crl_der, 1, length(crl_der) - 10)",
}


class Readers:
    """Relying parties that fetch the CRL all the time, and judge every answer."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._ca = ca_of(house.etc / "ca.crt")
        self._over = threading.Event()
        self.expected: set[int] = set()
        self.wrong: list[str] = []
        self.answers = 0
        self._threads = [threading.Thread(target=self._read) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        url = f"{self._house.server.url}/.well-known/pki/crl/iss-local"
        with self._house.server.client(key="") as client:
            while not self._over.is_set():
                wanted = set(self.expected)
                answer = client.get(url)
                self.answers += 1
                if answer.status_code != 200:
                    self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
                    continue
                crl = x509.load_der_x509_crl(answer.content)
                if not crl.is_signature_valid(self._ca.public_key()):  # type: ignore[arg-type] # a CA's
                    self.wrong.append("the signature")
                if not wanted <= serials(crl):
                    self.wrong.append("a revocation is missing")


@pytest.mark.spec("02/DR-1", "02/DR-2", "02/DR-3", "02/DR-4", "02/DR-27", "02/DATA-2", "02/CRL-5")
def test_crl_recovery_by_the_book_while_everybody_fetches(house: House) -> None:
    house.start()
    ca, seen = house.etc / "ca.crt", []
    first, second = house.issue("first.example.test"), house.issue("second.example.test")
    house.revoke("first.example.test")
    seen.append(number(house.crl("crl/iss-local", ca)))
    house.type('psql -c "CREATE TABLE kept_list AS SELECT * FROM crl_cache;"')
    with Readers(house) as readers:
        house.revoke("second.example.test")
        both = {first.serial_number, second.serial_number}
        readers.expected |= both
        # The plain listener is another process: it hears of the second one a moment later.
        eventually(lambda: serials(house.crl("crl/iss-local", ca)) == both, what="both are told")
        for damage in (RECOVER_CRL, *DAMAGE):
            house.type(damage.replace("<all but ten bytes>", CUT_OFF[house.engine]))
            shown = house.type(SHOW_CRL)
            assert "Issuer: CN = certctl Local CA" in shown

            def is_repaired(damage: str = damage) -> bool:
                found = house.crl("crl/iss-local", ca)
                assert serials(found) == both, damage
                return number(found) > seen[-1]

            eventually(is_repaired, what=damage)
            seen.append(number(house.crl("crl/iss-local", ca)))
            told = house.type(DIAGNOSE_CRL)
            assert "iss-local" in told
        assert readers.answers > len(seen)
    assert readers.wrong == []
    assert seen == sorted(set(seen))
    assert "cached CRL rejected: " in house.type(DIAGNOSE_CRL.replace("LIMIT 10", "LIMIT 1000"))
