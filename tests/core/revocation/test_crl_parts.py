"""Partitioned CRLs and deltas, as OpenSSL uses them (02 §C; RFC 5280 §5.2.4 to §5.2.6)."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.lifecycle.revocation import run_changed_crls, run_crl
from certctl_core.lifecycle.revocation.types import Partition
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Issued, Web, make, revoke, sql

OpenSSL = Callable[..., str]
BASE = "http://pki.example.com"
PROGRAMS = Path(sys.executable).parent


def settings_for(
    database_url: str, tmp_path: Path, *, keys: object = None, **values: object
) -> Settings:
    return Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=keys or generate_keyring(),
        server_workers=1,
        database_max_conns=20,
        **values,
    )


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return settings_for(
        database_url, tmp_path, pki_base_url=BASE, crl_partitions="4", crl_delta_above="1"
    )


@pytest.fixture
def core(settings: Settings, clock: FakeClock) -> Iterator[Core]:
    with Core.open(settings, clock=clock) as opened:
        yield opened


def points(issued: Issued) -> list[str]:
    leaf = x509.load_pem_x509_certificate(issued.pem.encode())
    found = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return [name.value for point in found for name in point.full_name or ()]


def path_of(issued: Issued) -> str:
    (url,) = points(issued)
    assert url.startswith(f"{BASE}/.well-known/pki/crl/")
    return url.removeprefix(f"{BASE}/.well-known/pki/")


def serials(crl: x509.CertificateRevocationList) -> set[str]:
    return {f"{entry.serial_number:040x}" for entry in crl}


def padded(*issued: Issued) -> set[str]:
    return {item.serial.zfill(40) for item in issued}


def lint(der: bytes, path: Path) -> str:
    """What pkilint's linter for CRLs complains of."""
    path.write_bytes(der)
    done = subprocess.run(
        [PROGRAMS / "lint_crl", "lint", "-s", "WARNING", "-t", "CRL", "-p", "PKIX", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).strip()


class Files:
    """What ``openssl verify`` is given."""

    def __init__(self, web: Web, folder: Path, openssl: OpenSSL) -> None:
        self.folder, self.openssl = folder, openssl
        (folder / "ca.pem").write_bytes(web.ca().public_bytes(Encoding.PEM))

    def verify(self, issued: Issued, *lists: bytes, options: tuple[str, ...] = ()) -> str:
        pem = b"".join(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in lists)
        (self.folder / "lists.pem").write_bytes(pem)
        return self.openssl(
            "verify", "-crl_check", *options, "-CAfile", "ca.pem", "-CRLfile", "lists.pem",
            data=issued.pem.encode(),
        )  # fmt: skip


def test_a_certificate_points_at_its_partition_and_openssl_agrees(
    core: Core, web: Web, openssl: OpenSSL, tmp_path: Path
) -> None:
    by_path: dict[str, list[Issued]] = {}
    # Nine certificates in four partitions: three of them share one. Seldom all nine do.
    for number in itertools.count():
        made = make(core, f"h{number}.example.test")
        by_path.setdefault(path_of(made), []).append(made)
        if number >= 8 and len(by_path) > 1:
            break
    path, (bad, good, *_) = max(by_path.items(), key=lambda item: len(item[1]))
    another = next(name for name in by_path if name != path)
    (other, *_) = by_path[another]

    revoke(core, bad.certificate_id, reason="keyCompromise")
    der = web.get(path).body
    files = Files(web, tmp_path, openssl)

    assert serials(x509.load_der_x509_crl(der)) == padded(bad)
    assert serials(web.crl(another)) == set()
    assert serials(web.crl()) == padded(bad)
    for options in ((), ("-extended_crl",)):
        assert "certificate revoked" in files.verify(bad, der, options=options)
        assert files.verify(good, der, options=options).strip().endswith(": OK")
    assert "different CRL scope" in files.verify(other, der)
    point = x509.load_der_x509_crl(der).extensions.get_extension_for_class(
        x509.IssuingDistributionPoint
    )
    assert point.critical
    assert [name.value for name in point.value.full_name or ()] == points(bad)


def test_one_revocation_makes_one_partition_anew(core: Core, web: Web) -> None:
    made = [make(core, f"h{number}.example.test") for number in range(8)]
    bad = made[0]
    run_crl(core.rooms.crls, core.rooms.responders, interval=timedelta(hours=1))
    before = dict(sql(core, "SELECT part, crl_number FROM crl_cache"))

    revoke(core, bad.certificate_id)
    run_changed_crls(core.rooms.crls)

    after = dict(sql(core, "SELECT part, crl_number FROM crl_cache"))
    mine = path_of(bad).rpartition("/")[2]
    changed = {part for part in after if after[part] != before.get(part)}
    assert set(before) >= {"", *(partition.name for partition in Partition.all(4))}
    assert changed == {"", "delta", mine}


def test_another_count_leaves_the_old_partitions_in_service(
    core: Core, settings: Settings, database_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    made = make(core)
    old = path_of(made)
    Web(core).crl(old)
    changed = settings_for(
        database_url,
        tmp_path,
        pki_base_url="http://other.example.com",
        crl_partitions="2",
        keys=settings.encryption.keys,
    )
    with Core.open(changed, clock=clock, migrate=False) as later:
        web = Web(later)
        revoke(later, made.certificate_id)

        crl = web.crl(old)
        assert serials(crl) == padded(made)
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
        # Certificates of either time find their own address in the list.
        assert {name.value for name in point.full_name or ()} == {
            f"{base}/.well-known/pki/{old}" for base in (BASE, "http://other.example.com")
        }
        index = int(made.serial[-2:], 16) % 2
        assert serials(web.crl(f"{old.rpartition('/')[0]}/2-{index}")) == padded(made)


@pytest.mark.parametrize("part", ["4-4", "8-1", "3-1", "4-", "-", "04-1", "4-01", "x", "512-1"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_partitions_that_do_not_exist(core: Core, web: Web, part: str) -> None:
    key_id = web.key().ca_key_id

    assert web.get(f"crl/iss-local/{key_id}/{part}").status == 404
    assert web.get(f"crl/iss-local//{part}").status == 404


def test_a_partition_follows_what_is_done_by_hand(core: Core, web: Web, clock: FakeClock) -> None:
    made = make(core)
    path = path_of(made)
    revoke(core, made.certificate_id)
    assert serials(web.crl(path)) == padded(made)

    sql(core, "DELETE FROM certificate_revocations")
    clock.advance(timedelta(seconds=1))
    core.pki.forget()
    assert serials(web.crl(path)) == set()
    sql(core, "UPDATE crl_cache SET crl_der = :bad", bad=b"garbage")
    clock.advance(timedelta(seconds=1))
    core.pki.forget()
    assert serials(web.crl(path)) == set()


def delta_path(web: Web) -> str:
    return f"crl/iss-local/{web.key().ca_key_id}/delta"


def test_an_old_list_and_the_delta_say_what_the_new_list_says(
    core: Core, web: Web, clock: FakeClock, openssl: OpenSSL, tmp_path: Path
) -> None:
    held, early, late, good = (make(core, f"h{number}.example.test") for number in range(4))
    revoke(core, held.certificate_id, reason="certificateHold")
    revoke(core, early.certificate_id, reason="superseded")
    base = web.get("crl/iss-local").body
    clock.advance(timedelta(hours=1))
    revoke(core, late.certificate_id, reason="keyCompromise")
    core.call("certificates.unhold", path={"certificate_id": held.certificate_id})

    complete, delta = web.get("crl/iss-local").body, web.get(delta_path(web)).body
    parsed = x509.load_der_x509_crl(delta)
    of_base = x509.load_der_x509_crl(base)

    def number(crl: x509.CertificateRevocationList) -> int:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    indicator = parsed.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert indicator.critical
    assert indicator.value.crl_number == number(of_base)
    assert number(parsed) == number(x509.load_der_x509_crl(complete)) > number(of_base)
    freshest = of_base.extensions.get_extension_for_class(x509.FreshestCRL).value
    assert [name.value for point in freshest for name in point.full_name or ()] == [
        f"{BASE}/.well-known/pki/{delta_path(web)}"
    ]
    reasons = {
        f"{entry.serial_number:040x}": entry.extensions.get_extension_for_class(
            x509.CRLReason
        ).value.reason
        for entry in parsed
    }
    assert reasons == {
        late.serial.zfill(40): x509.ReasonFlags.key_compromise,
        held.serial.zfill(40): x509.ReasonFlags.remove_from_crl,
    }
    # Certificates point at partitions, which have no deltas: OpenSSL judges by the complete list.
    files = Files(web, tmp_path, openssl)
    use = ("-extended_crl", "-use_deltas", "-attime", str(int(clock.now().timestamp())))
    for issued, alone, with_delta in (
        (held, "certificate revoked", "OK"),
        (early, "certificate revoked", "certificate revoked"),
        (late, "OK", "certificate revoked"),
        (good, "OK", "OK"),
    ):
        assert alone in files.verify(issued, base), issued
        assert with_delta in files.verify(issued, base, delta, options=use), issued


def test_the_base_follows_the_lists_that_are_still_valid(
    core: Core, web: Web, clock: FakeClock
) -> None:
    revoke(core, make(core).certificate_id)
    first = web.get("crl/iss-local").body
    clock.advance(timedelta(hours=25))
    late = make(core)
    revoke(core, late.certificate_id)
    web.get("crl/iss-local")
    clock.advance(timedelta(hours=1))
    revoke(core, make(core).certificate_id)

    delta = x509.load_der_x509_crl(web.get(delta_path(web)).body)

    base = delta.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value.crl_number
    assert (
        base
        > x509.load_der_x509_crl(first)
        .extensions.get_extension_for_class(x509.CRLNumber)
        .value.crl_number
    )
    assert len(delta) == 1
    assert sql(core, "SELECT count(*) FROM crl_removals")[0][0] == 0


def test_without_the_setting_there_is_no_delta(
    database_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    settings = settings_for(database_url, tmp_path, pki_base_url=BASE)
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        revoke(core, make(core).certificate_id)

        with pytest.raises(x509.ExtensionNotFound):
            web.crl().extensions.get_extension_for_class(x509.FreshestCRL)
        assert web.get(delta_path(web)).status == 404


def test_the_delta_tells_that_a_hold_became_final(core: Core, web: Web, clock: FakeClock) -> None:
    made = make(core)
    revoke(core, made.certificate_id, reason="certificateHold")
    held_at = clock.now()
    web.get("crl/iss-local")
    clock.advance(timedelta(hours=1))

    revoke(core, made.certificate_id, reason="keyCompromise")

    (entry,) = x509.load_der_x509_crl(web.get(delta_path(web)).body)
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert (reason, entry.revocation_date_utc) == (x509.ReasonFlags.key_compromise, held_at)


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_second_linter_has_no_complaint(core: Core, web: Web, tmp_path: Path) -> None:
    pytest.importorskip("pkilint")
    held, late = make(core), make(core)
    revoke(core, held.certificate_id, reason="certificateHold")
    web.get("crl/iss-local")
    revoke(core, late.certificate_id, reason="superseded")

    for path in ("crl/iss-local", path_of(late), delta_path(web)):
        assert lint(web.get(path).body, tmp_path / "crl.der") == "", path


@pytest.mark.spec("02/DR-25")
def test_a_copy_of_each_new_list_is_kept_outside_the_database(
    database_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    folder = tmp_path / "copies" / "crl"
    settings = settings_for(database_url, tmp_path, crl_export_dir=str(folder))
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        name = f"iss-local.{web.key().ca_key_id}.crl"
        for _ in range(2):
            revoke(core, make(core).certificate_id)
            served = web.get("crl/iss-local").body
            assert (folder / name).read_bytes() == served
        assert [file.name for file in folder.iterdir()] == [name]
        (folder / name).unlink()
        folder.rmdir()
        folder.write_text("no folder")

        revoke(core, make(core).certificate_id)

        assert len(web.crl()) == 3
