"""The example CA against the contract suite, and what is special about it."""

from __future__ import annotations

import stat

import pytest
from certctl_example_issuer.issuer import ExampleCA

from certctl_core.contracts.errors import ConfigError, UpstreamUnavailable
from certctl_core.contracts.options import validate_config
from certctl_core.testing.issuer import IssuerContract, make_request
from certctl_core.testing.plugin_fakes import fake_context


class TestExampleCA(IssuerContract):
    plugin = ExampleCA
    uses_http = False

    @pytest.fixture
    def raw_config(self, tmp_path):
        return {"key_path": str(tmp_path / "ca.pem")}


def issuer_at(path, **extra):
    config = validate_config(ExampleCA.Config, {"key_path": str(path), **extra})
    return ExampleCA(config, fake_context())


def test_ca_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "ca.pem"
    first = issuer_at(path, common_name="My CA").ca_chain()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert issuer_at(path, common_name="Another name").ca_chain() == first
    assert [file.name for file in tmp_path.iterdir()] == ["ca.pem"]


def test_missing_directory_is_reported_before_it_is_needed(tmp_path):
    issuer = issuer_at(tmp_path / "nowhere" / "ca.pem")
    report = issuer.test()
    assert not report.ok
    assert "nowhere" in report.checks[0].hint
    with pytest.raises(UpstreamUnavailable):
        issuer.submit(make_request())


def test_foreign_file_is_not_taken_for_a_ca(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("shopping list")
    with pytest.raises(ConfigError):
        issuer_at(path).submit(make_request())
