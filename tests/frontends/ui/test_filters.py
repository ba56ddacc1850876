"""Times, states and links as the pages show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from certctl_flask.ui import filters

from tests.frontends.ui.samples import common, environment

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def shown(template: str, **values: object) -> str:
    return environment().from_string(template).render(common(now=NOW, **values))


@pytest.mark.spec("01/UI-05")
@pytest.mark.parametrize(
    ("tone", "states"),
    [
        ("good", "Active Completed Online Managed Enabled sent healthy"),
        (
            "warning",
            (
                "Expiring Running Degraded Unmanaged Investigating pending retrying degraded "
                "cert_mismatch"
            ),
        ),
        ("bad", "Expired Revoked Failed Offline failed dead down"),
        ("info", "Pending AwaitingCSR AwaitingApproval AwaitingIssuer RenewalInProgress"),
        ("neutral", "Archived Cancelled anything"),
    ],
)
def test_states_have_the_tone_of_the_specification(tone: str, states: str) -> None:
    assert {filters.tone(state) for state in states.split()} == {tone}


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=5), "in a moment"),
        (timedelta(minutes=-3), "3 min ago"),
        (timedelta(hours=47), "in 47 h"),
        (timedelta(days=12), "in 12 days"),
        (timedelta(days=-400), "400 days ago"),
    ],
)
def test_a_relative_time(ahead: timedelta, text: str) -> None:
    assert filters.relative(NOW + ahead, NOW) == text


@pytest.mark.spec("01/UI-06")
@pytest.mark.parametrize(
    ("times", "text"),
    [
        ("relative", "in 2 h"),
        ("utc", "2026-11-25 14:05 UTC"),
        ("Europe/Zurich", "2026-11-25 15:05 CET"),
        ("No/Such", "2026-11-25 14:05 UTC"),
    ],
)
def test_times_follow_the_reader(times: str, text: str) -> None:
    page = shown(
        "{{ '2026-11-25T14:05:00Z' | when }}",
        prefs={"times": times},
    )

    assert f">{text}</time>" in page
    assert 'datetime="2026-11-25T14:05:00Z"' in page
    assert 'title="2026-11-25 14:05:00 UTC"' in page


def test_no_time_is_a_dash() -> None:
    assert shown("{{ none | when }}|{{ none | when(empty='never') }}") == "–|never"


@pytest.mark.parametrize(
    ("days", "tone"), [(-1, "bad"), (6, "bad"), (8, "warning"), (29, "warning"), (31, "good")]
)
def test_an_expiry_gets_urgent(days: int, tone: str) -> None:
    assert shown("{{ end | urgency }}", end=NOW + timedelta(days=days, hours=1)) == tone


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (90, "1 min 30 s"),
        (5400, "1 h 30 min"),
        (7776000, "90 d"),
        (398 * 86400, "398 d"),
        (10 * 365 * 86400, "10 y"),
    ],
)
def test_a_length_of_time(seconds: int, text: str) -> None:
    assert filters.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("web.example.test", "DNS"),
        ("*.example.test", "DNS"),
        ("192.0.2.1", "IP"),
        ("2001:db8::1", "IP"),
        ("ops@example.test", "Email"),
        ("spiffe://example.test/web", "URI"),
    ],
)
def test_names_are_told_by_their_form(value: str, kind: str) -> None:
    assert filters.san_kind(value) == kind


@pytest.mark.spec("01/UI-03")
def test_a_link_keeps_the_list_and_starts_again_on_change() -> None:
    query = {
        "q": "a b",
        "sort": "name",
        "page_size": 25,
        "cursor": "x",
        "filters": {"status": "Active"},
    }

    assert filters.link("/p", query, cursor="y") == (
        "/p?q=a+b&sort=name&page_size=25&cursor=y&filter[status]=Active"
    )
    assert filters.link("/p", query, sort="-name") == (
        "/p?q=a+b&sort=-name&page_size=25&filter[status]=Active"
    )
    assert filters.link("/p", query, status=None, q=None, sort=None, page_size=None) == "/p"


def test_shares_stay_within_the_whole() -> None:
    assert filters.elapsed("2026-11-01T00:00:00Z", "2026-11-11T00:00:00Z", NOW) == 100.0
    assert filters.elapsed("2026-11-20T12:00:00Z", "2026-11-30T12:00:00Z", NOW) == 50.0
    assert filters.share(1, 0) == 0


def test_numbers_and_digests_are_readable() -> None:
    assert filters.number(1234567) == "1\u202f234\u202f567"
    assert filters.hex_pairs("0a1b2c") == "0A:<wbr>1B:<wbr>2C"
    assert filters.short_hex("ab" * 32) == "abababab…abababab"
    assert filters.short_hex("abcd") == "abcd"
    assert filters.label("AwaitingCSR") == "Awaiting CSR"
    assert filters.label("crl_distribution_point_urls") == "CRL distribution point URLs"
    assert filters.initials("first-admin") == "FA"
    assert filters.initials("é") == "É"
    assert filters.initials("") == "?"
