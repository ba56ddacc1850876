"""The outbound rules, and the address of a client."""

from __future__ import annotations

import socket
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.kernel.config.values import read_destination
from certctl_core.kernel.net import (
    EgressDenied,
    EgressPolicy,
    UpstreamUnavailable,
    client_ip,
    open_connection,
    system_resolve,
)
from tests.machine import PATIENCE_SECONDS

PATIENCE = timedelta(seconds=PATIENCE_SECONDS)


def policy(*allow, block_private=False):
    return EgressPolicy(
        block_private=block_private, allow=tuple(read_destination(item) for item in allow)
    )


RESERVED = [
    "0.0.0.1",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "100::1",
    "2001:db8::1",
    "3fff::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    # IPv4 inside IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo server and client.
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:0:808:808:0:0:80ff:fffe",
]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "fc00::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "2002:a00:1::",
    "64:ff9b::10.0.0.1",
]
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8"]


class TestPolicy:
    @pytest.mark.spec("06/NET-4", "08/NET-2")
    @pytest.mark.parametrize("text", RESERVED)
    def test_reserved_addresses_are_always_refused(self, text):
        with pytest.raises(EgressDenied):
            policy().check_address(ip_address(text), host="h", port=443)

    @pytest.mark.spec("06/NET-4", "08/NET-2")
    @pytest.mark.parametrize("text", PRIVATE)
    def test_private_addresses_are_refused_on_demand(self, text):
        policy().check_address(ip_address(text), host="h", port=443)
        with pytest.raises(EgressDenied):
            policy(block_private=True).check_address(ip_address(text), host="h", port=443)

    @pytest.mark.parametrize("text", PUBLIC)
    def test_public_addresses_pass(self, text):
        policy(block_private=True).check_address(ip_address(text), host="h", port=443)

    @pytest.mark.spec("06/NET-5")
    @pytest.mark.parametrize(
        ("rule", "address", "host", "port", "passes"),
        [
            ("127.0.0.1", "127.0.0.1", "h", 1, True),
            ("127.0.0.0/8", "127.9.9.9", "h", 1, True),
            ("127.0.0.1", "127.0.0.2", "h", 1, False),
            ("127.0.0.1:8200", "127.0.0.1", "h", 8200, True),
            ("127.0.0.1:8200", "127.0.0.1", "h", 8201, False),
            ("127.0.0.1:8200", "127.0.0.1", "h", None, False),
            ("::1", "::1", "h", 1, True),
            ("127.0.0.1", "::ffff:127.0.0.1", "h", 1, True),
            ("ca.example.com", "127.0.0.1", "CA.example.com.", 1, True),
            ("ca.example.com:443", "127.0.0.1", "ca.example.com", 444, False),
            ("ca.example.com", "127.0.0.1", "other.example.com", 1, False),
        ],
    )
    def test_exceptions(self, rule, address, host, port, passes):
        if passes:
            policy(rule).check_address(ip_address(address), host=host, port=port)
        else:
            with pytest.raises(EgressDenied):
                policy(rule).check_address(ip_address(address), host=host, port=port)

    def test_refusal_does_not_tell_the_address(self):
        with pytest.raises(EgressDenied) as error:
            policy().check_address(ip_address("169.254.169.254"), host="evil.example.com", port=80)
        assert "169.254" not in str(error.value)
        assert error.value.log["address"] == "169.254.169.254"

    def test_one_forbidden_answer_spoils_all(self):
        answers = (ip_address("8.8.8.8"), ip_address("127.0.0.1"))
        with pytest.raises(EgressDenied):
            policy().addresses("h", 443, timeout=PATIENCE, resolve=lambda *_: answers)

    @pytest.mark.spec("08/A-17")
    @pytest.mark.parametrize(
        "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"]
    )
    def test_other_spellings_of_loopback_are_refused(self, host):
        with pytest.raises(EgressDenied):
            policy().addresses(host, 443, timeout=PATIENCE)

    def test_name_without_address(self):
        with pytest.raises(UpstreamUnavailable, match="no address"):
            system_resolve("host with blanks", PATIENCE)

    def test_connection_for_other_protocols(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with open_connection(policy("127.0.0.1"), "127.0.0.1", port, timeout=PATIENCE) as one:
                assert one.getpeername() == ("127.0.0.1", port)
            with pytest.raises(EgressDenied):
                open_connection(policy(), "127.0.0.1", port, timeout=PATIENCE)
        with socket.socket() as deaf:  # bound, so that nobody else takes the port meanwhile
            deaf.bind(("127.0.0.1", 0))
            port = deaf.getsockname()[1]
            with pytest.raises(UpstreamUnavailable, match="refused"):
                open_connection(policy("127.0.0.1"), "127.0.0.1", port, timeout=PATIENCE)


TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


class TestClientAddress:
    @pytest.mark.spec("05/NET-1", "08/HTTP-9")
    @pytest.mark.parametrize(
        ("peer", "forwarded", "expected"),
        [
            ("198.51.100.1", "", "198.51.100.1"),
            ("198.51.100.1", "1.2.3.4", "198.51.100.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1:4711", "198.51.100.1:99", "198.51.100.1"),
            ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "garbage", "10.0.0.1"),
            ("10.0.0.1", " , ,", "10.0.0.1"),
            ("[2001:db8::1]:443", '"[2606:4700::1]:8080"', "2606:4700::1"),
            ("2001:db8::1%eth0", "2606:4700:0::1", "2606:4700::1"),
            ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
            ("unix:", "198.51.100.1", "unix:"),
            ("", "198.51.100.1", ""),
        ],
    )
    def test_cases(self, peer, forwarded, expected):
        assert client_ip(peer, forwarded, TRUSTED) == expected

    def test_long_chains_are_cut(self):
        chain = "6.6.6.6," + "10.0.0.2," * 100
        assert client_ip("10.0.0.1", chain.rstrip(","), TRUSTED) == "10.0.0.2"

    @given(st.text(max_size=200), st.text(max_size=200))
    def test_never_fails(self, peer, forwarded):
        client_ip(peer, forwarded, TRUSTED)
        client_ip("10.0.0.1", forwarded, TRUSTED)
