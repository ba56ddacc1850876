"""Loading settings: sources, strictness, all problems at once (08 CFG-1 to CFG-10)."""

from __future__ import annotations

import base64
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.kernel.config import (
    AllowedDestination,
    ConfigError,
    HostPort,
    Settings,
    UnknownSetting,
    default_data_dir,
    load_settings,
    secret_names,
    specs,
)
from certctl_core.kernel.config.values import read_duration, show_duration
from certctl_core.kernel.secrets import MASK, Secret

KEYRING = "k1:" + base64.b64encode(bytes(range(32))).decode()
POSTGRES = "postgresql://certctl@localhost/certctl"
TOKEN = "3f1c8a0b5d7e2946f0a1b2c3d4e5f607"


@pytest.fixture
def load(tmp_path):
    def load(environ=None, toml=None, argv=None):
        config_file = None
        if toml is not None:
            config_file = tmp_path / "certctl.toml"
            config_file.write_text(toml)
        full = {"CERTCTL_DATA_DIR": str(tmp_path)}
        full.update({f"CERTCTL_{name}": value for name, value in (environ or {}).items()})
        return load_settings(argv_overrides=argv or {}, environ=full, config_file=config_file)

    return load


@pytest.fixture
def refused(load):
    """Load what cannot be loaded: the problems by setting, without the prefix."""

    def refused(environ=None, toml=None, argv=None):
        with pytest.raises(ConfigError) as error:
            load(environ, toml, argv)
        return {
            problem.setting.removeprefix("CERTCTL_"): str(problem)
            for problem in error.value.problems
        }

    return refused


class TestSources:
    @pytest.mark.spec("08/CFG-2")
    def test_each_source_beats_the_ones_below(self, load, tmp_path):
        (tmp_path / "port").write_text("1003\n")
        toml = "server_port = 1004"
        file = {"SERVER_PORT_FILE": str(tmp_path / "port")}
        env = {"SERVER_PORT": "1002"}
        assert load().server.port == 8443
        assert load({}, toml).server.port == 1004
        assert load(file, toml).server.port == 1003
        assert load(env, toml).server.port == 1002
        assert load(env, toml, {"SERVER_PORT": "1001"}).server.port == 1001
        assert load(file, toml, {"SERVER_PORT": "1001"}).server.port == 1001

    def test_source_of_each_value_is_known(self, load, tmp_path):
        (tmp_path / "token").write_text(TOKEN)
        settings = load(
            {"SERVER_PORT": "1", "METRICS_TOKEN_FILE": str(tmp_path / "token")},
            'log_level = "debug"',
            {"SERVER_HOST": "::1"},
        )
        assert settings.source_of("SERVER_HOST") == "command line"
        assert settings.source_of("CERTCTL_SERVER_PORT") == "environment"
        assert settings.source_of("metrics_token") == f"file {tmp_path / 'token'}"
        assert settings.source_of("LOG_LEVEL") == str(tmp_path / "certctl.toml")
        assert settings.source_of("HTTP_THREADS") == "default"
        assert settings.source_of("DATABASE_URL") == "default"

    def test_value_and_its_file_together_are_refused(self, refused, tmp_path):
        (tmp_path / "port").write_text("1003")
        found = refused({"SERVER_PORT": "1", "SERVER_PORT_FILE": str(tmp_path / "port")})
        assert "set together with CERTCTL_SERVER_PORT_FILE" in found["SERVER_PORT"]

    def test_one_trailing_newline_of_a_file_is_trimmed(self, load, tmp_path):
        (tmp_path / "a").write_text("pass-phrase one\n\n")
        ca = {"CA_CERT_PATH": "/x", "CA_KEY_PATH": "/y"}
        settings = load({**ca, "CA_KEY_PASSPHRASE_FILE": str(tmp_path / "a")})
        assert settings.ca.key_passphrase == Secret("pass-phrase one\n")

    def test_unreadable_files_are_named(self, refused, tmp_path):
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        found = refused(
            {
                "METRICS_TOKEN_FILE": str(tmp_path / "absent"),
                "BOOTSTRAP_TOKEN_FILE": str(tmp_path / "binary"),
                "AGENT_BOOTSTRAP_TOKEN_FILE": "/dev/zero",
            }
        )
        assert "No such file" in found["METRICS_TOKEN_FILE"]
        assert "not UTF-8" in found["BOOTSTRAP_TOKEN_FILE"]
        assert "too large" in found["AGENT_BOOTSTRAP_TOKEN_FILE"]

    def test_named_configuration_file_must_exist(self, tmp_path):
        with pytest.raises(ConfigError, match="No such file"):
            load_settings(environ={}, config_file=tmp_path / "absent.toml")

    def test_broken_toml_is_reported_with_its_place(self, refused, tmp_path):
        assert "line 1" in refused(toml="server_port = =")[str(tmp_path / "certctl.toml")]

    def test_tables_in_toml_are_refused(self, refused, tmp_path):
        assert "flat" in refused(toml="[server]\nport = 1")[str(tmp_path / "certctl.toml")]

    def test_toml_may_use_its_own_types(self, load):
        settings = load(
            toml='scheduler_enabled = false\nhttp_threads = 7\nplugins_disabled = ["a", "b"]\n'
        )
        assert settings.scheduler.enabled is False
        assert settings.server.http_threads == 7
        assert settings.plugins.disabled == ("a", "b")

    def test_listen_sets_host_and_port(self, load, refused):
        settings = load({"SERVER_PORT": "1"}, None, {"LISTEN": "[::1]:9443"})
        assert (settings.server.host, settings.server.port) == ("::1", 9443)
        assert "host:port" in refused(argv={"LISTEN": "9443"})["--listen"]

    def test_relative_path_on_the_command_line_is_taken_from_here(
        self, load, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        assert load(argv={"DATA_DIR": "data"}).data_dir == tmp_path / "data"

    def test_relative_path_elsewhere_is_refused(self, refused):
        assert (
            "absolute" in refused({"CA_CERT_PATH": "ca.crt", "CA_KEY_PATH": "/k"})["CA_CERT_PATH"]
        )

    def test_empty_variable_means_unset_where_that_is_possible(self, load, refused):
        settings = load({"PUBLIC_URL": "", "TRUSTED_PROXIES": "", "METRICS_TOKEN_FILE": ""})
        assert settings.server.public_url is None
        assert settings.server.trusted_proxies == ()
        assert settings.source_of("PUBLIC_URL") == "default"
        assert "whole number" in refused({"SERVER_PORT": ""})["SERVER_PORT"]


class TestStrictness:
    @pytest.mark.spec("08/CFG-3")
    @pytest.mark.parametrize("text", ["true", "TRUE", "1", "Yes", "on"])
    def test_true_in_every_spelling(self, load, text):
        assert load({"SESSION_BIND_IP": text}).sessions.bind_ip is True

    @pytest.mark.spec("08/CFG-3")
    @pytest.mark.parametrize("text", ["false", "False", "0", "NO", "off"])
    def test_false_in_every_spelling(self, load, text):
        assert load({"MIGRATE_ON_START": text}).database.migrate_on_start is False

    @pytest.mark.spec("08/CFG-3", "08/GUARD-1")
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("SESSION_BIND_IP", "maybe"),
            ("SERVER_PORT", "84x"),
            ("SERVER_PORT", "8443.0"),
            ("SERVER_PORT", "-1"),
            ("SERVER_PORT", "0"),
            ("SERVER_PORT", "65536"),
            ("JOB_LEASE", "10"),
            ("JOB_LEASE", "10 minutes"),
            ("JOB_LEASE", "-5m"),
            ("JOB_LEASE", "5m1h"),
            ("JOB_LEASE", "5m5m"),
            ("JOB_LEASE", "9s"),
            ("MAX_BODY_SIZE", "1MB"),
            ("MAX_BODY_SIZE", "1023"),
            ("LOG_LEVEL", "loud"),
            ("SESSION_SAMESITE", "None"),
            ("TRUSTED_PROXIES", "10.0.0.1/8"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
            ("SERVER_TLS_SANS", "a b"),
            ("PUBLIC_URL", "http://example.com"),
            ("PUBLIC_URL", "https://user@example.com"),
            ("PUBLIC_URL", "https://example.com/?q"),
            ("PKI_BASE_URL", "ldap://example.com"),
            ("PKI_HTTP_LISTEN", ":8080"),
            ("PKI_HTTP_LISTEN", "localhost:http"),
            ("PKI_HTTP_LISTEN", "localhost:70000"),
            ("CORS_ORIGINS", "https://example.com/path"),
            ("OUTBOUND_ALLOW", "10.0.0.0/33"),
            ("DATABASE_URL", "mysql://localhost/x"),
            ("DATABASE_URL", "sqlite:///relative.db"),
            ("OCSP_NONCE_MAX", "129"),
            ("AUDIT_SEAL_INTERVAL", "99ms"),
        ],
    )
    def test_what_cannot_be_read_is_refused_by_name(self, refused, name, text):
        assert name in refused({name: text})

    @pytest.mark.spec("08/CFG-4")
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("250ms", timedelta(milliseconds=250)),
            ("30s", timedelta(seconds=30)),
            ("5m", timedelta(minutes=5)),
            ("1h30m", timedelta(minutes=90)),
            ("7d", timedelta(days=7)),
            ("1d1s", timedelta(days=1, seconds=1)),
            ("1s500ms", timedelta(milliseconds=1500)),
            ("0s", timedelta(0)),
        ],
    )
    def test_durations(self, text, value):
        assert read_duration(text) == value
        assert read_duration(show_duration(value)) == value

    @given(st.integers(0, 10**12))
    def test_durations_survive_being_written(self, milliseconds):
        value = timedelta(milliseconds=milliseconds)
        assert read_duration(show_duration(value)) == value

    @pytest.mark.spec("08/CFG-4")
    @pytest.mark.parametrize(("text", "value"), [("4096", 4096), ("2KiB", 2048), ("3MiB", 3 << 20)])
    def test_sizes(self, load, text, value):
        assert load({"MAX_BODY_SIZE": text}).server.max_body_size == value

    @pytest.mark.spec("08/CFG-4")
    def test_lists_are_trimmed_and_empty_items_dropped(self, load):
        assert load({"PLUGINS_DISABLED": " a, b ,,c,"}).plugins.disabled == ("a", "b", "c")

    def test_typed_values(self, load):
        settings = load(
            {
                "TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::1",
                "MTLS_LISTEN": "[::]:8444",
                "OUTBOUND_ALLOW": "10.1.0.0/16,CA.example.com,127.0.0.1:8200,[::1]:9,::2,h:1",
                "PUBLIC_URL": "https://certctl.example.com/",
            }
        )
        assert settings.server.trusted_proxies == (
            ip_network("10.0.0.0/8"),
            ip_network("2001:db8::1"),
        )
        assert settings.server.mtls_listen == HostPort(host="::", port=8444)
        assert settings.outbound.allow == (
            AllowedDestination(network=ip_network("10.1.0.0/16")),
            AllowedDestination(host="ca.example.com"),
            AllowedDestination(network=ip_network("127.0.0.1"), port=8200),
            AllowedDestination(network=ip_network("::1"), port=9),
            AllowedDestination(network=ip_network("::2")),
            AllowedDestination(host="h", port=1),
        )
        assert settings.server.public_url == "https://certctl.example.com"

    @pytest.mark.spec("08/CFG-5", "01/SET-01")
    def test_unknown_name_is_refused_with_the_nearest(self, refused):
        found = refused({"SERVER_PROT": "1", "QQQQ": "x"}, "server_hots = 'a'")
        assert "Did you mean CERTCTL_SERVER_PORT?" in found["SERVER_PROT"]
        assert "Did you mean" not in found["QQQQ"]
        assert any("Did you mean server_host?" in text for text in found.values())

    @pytest.mark.spec("08/CFG-5")
    def test_unknown_name_is_a_warning_where_allowed(self, load):
        settings = load({"QQQQ": "x", "CONFIG_ALLOW_UNKNOWN": "true"})
        assert settings.warnings == ("CERTCTL_QQQQ is no setting",)

    def test_names_of_the_client_are_left_alone(self, load):
        settings = load({"API_KEY": "x", "SERVER_URL": "https://x", "SECRET_VAULT": "y"})
        assert settings.warnings == ()

    @pytest.mark.spec("08/CFG-5")
    def test_renamed_settings_still_count_and_warn(self, load, refused):
        settings = load(
            {
                "BLOCK_RFC1918_OUTBOUND": "true",
                "AUDIT_FLUSH_TIMEOUT_SECONDS": "7",
                "MIGRATIONS_VIA_HOOK": "true",
            }
        )
        assert settings.outbound.block_private is True
        assert settings.server.shutdown_timeout == timedelta(seconds=7)
        assert settings.database.migrate_on_start is False
        assert "CERTCTL_BLOCK_RFC1918_OUTBOUND is now called" in " ".join(settings.warnings)
        both = {"BLOCK_RFC1918_OUTBOUND": "true", "OUTBOUND_BLOCK_PRIVATE": "true"}
        assert "old name" in refused(both)["BLOCK_RFC1918_OUTBOUND"]

    @pytest.mark.spec("05/KEY-8")
    def test_dropped_settings_say_what_to_do(self, refused):
        assert "CERTCTL_API_KEYS_NAMED" in refused({"AUTH_SECRET": "x"})["AUTH_SECRET"]

    @pytest.mark.spec("08/BOOT-6")
    def test_all_problems_come_at_once_in_order(self, load):
        with pytest.raises(ConfigError) as error:
            load(
                {
                    "LOG_LEVEL": "loud",
                    "SERVER_PORT": "x",
                    "SESSION_IDLE_TIMEOUT": "9h",
                    "BOOTSTRAP_TOKEN": "short",
                    "QQQQ": "1",
                }
            )
        names = [problem.setting for problem in error.value.problems]
        assert names == [
            "CERTCTL_QQQQ",
            "CERTCTL_SERVER_PORT",
            "CERTCTL_BOOTSTRAP_TOKEN",
            "CERTCTL_SESSION_ABSOLUTE_TIMEOUT",
            "CERTCTL_LOG_LEVEL",
        ]
        port = error.value.problems[1]
        assert (port.found, port.source) == ("x", "environment")

    def test_rules_about_a_broken_value_are_left_out(self, refused):
        assert set(refused({"SESSION_IDLE_TIMEOUT": "x"})) == {"SESSION_IDLE_TIMEOUT"}


class TestSecrets:
    @pytest.mark.spec("08/CFG-6")
    def test_secrets_show_nowhere(self, load):
        canary = "canary-5d1c8a0b5d7e2946f0a1b2c3d4e5f607"
        settings = load(
            {
                "DATABASE_URL": f"postgresql://u:{canary}@localhost/x?password={canary}",
                "CONFIG_ENCRYPTION_KEY": canary,
                "API_KEYS_NAMED": f"ci:{canary}",
                "BOOTSTRAP_TOKEN": canary,
                "METRICS_TOKEN": canary,
                "AGENT_BOOTSTRAP_TOKEN": canary,
                "OUTBOUND_PROXY": f"http://u:{canary}@proxy.example.com:3128",
            }
        )
        shown = repr(settings) + str(settings.dump()) + settings.model_dump_json()
        shown += "".join(str(settings.explain(name).value) for name in specs())
        assert canary not in shown
        lines = {line.name: line.value for line in settings.dump()}
        assert lines["CERTCTL_BOOTSTRAP_TOKEN"] == MASK
        assert lines["CERTCTL_OUTBOUND_PROXY"] == f"http://{MASK}@proxy.example.com:3128"
        assert lines["CERTCTL_API_KEYS_NAMED"] == f"ci:{MASK}:viewer"

    @pytest.mark.spec("08/CFG-6")
    def test_broken_secrets_are_not_repeated(self, refused):
        canary = "canary-canary"
        found = refused(
            {
                "DATABASE_URL": f"mysql://u:{canary}@x",
                "CONFIG_ENCRYPTION_KEYS": canary,
                "API_KEYS_NAMED": f"x:{canary}:{canary}",
                "OUTBOUND_PROXY": canary,
            }
        )
        assert len(found) == 4
        assert canary not in "".join(found.values())

    @pytest.mark.spec("08/CFG-10")
    def test_names_that_no_child_may_see(self):
        environ = {
            "PATH": "/bin",
            "CERTCTL_SERVER_PORT": "1",
            "CERTCTL_BOOTSTRAP_TOKEN": "x",
            "CERTCTL_API_KEY": "x",
            "CERTCTL_SECRET_VAULT": "x",
            "CERTCTL_DATABASE_URL": "x",
        }
        assert secret_names(environ) == {
            "CERTCTL_BOOTSTRAP_TOKEN",
            "CERTCTL_API_KEY",
            "CERTCTL_SECRET_VAULT",
            "CERTCTL_DATABASE_URL",
        }


class TestDatabase:
    def test_password_is_put_into_the_url(self, load):
        settings = load(
            {
                "DATABASE_URL": "postgres://certctl@localhost:5432/x?sslmode=require",
                "DATABASE_PASSWORD": "p@ss/w:rd",
                "DATABASE_MIGRATION_URL": "postgresql://owner@localhost/x",
                "CONFIG_ENCRYPTION_KEYS": KEYRING,
            }
        )
        assert settings.database.dsn.reveal() == (
            "postgres://certctl:p%40ss%2Fw%3Ard@localhost:5432/x?sslmode=require"
        )
        assert settings.database.migration_dsn.reveal() == (
            "postgresql://owner:p%40ss%2Fw%3Ard@localhost/x"
        )
        assert settings.database.sqlite_path is None

    def test_sqlite_lies_in_the_data_directory(self, load, tmp_path):
        settings = load()
        assert settings.database.sqlite_path == tmp_path / "certctl.db"
        assert settings.database.dsn.reveal() == f"sqlite:///{tmp_path}/certctl.db"
        assert settings.database.migration_dsn == settings.database.dsn
        assert settings.server.workers == 1

    def test_postgres_gets_a_worker_per_cpu_up_to_four(self, load):
        settings = load({"DATABASE_URL": POSTGRES, "CONFIG_ENCRYPTION_KEYS": KEYRING})
        assert 1 <= settings.server.workers <= 4

    @pytest.mark.parametrize(
        ("given", "threads"),
        [
            ({}, 16),
            ({"SERVER_WORKERS": "3"}, 10),
            ({"SERVER_WORKERS": "4"}, 8),
            ({"DATABASE_MAX_CONNS": "20"}, 10),
            ({"DATABASE_MAX_CONNS": "18"}, 8),
            ({"HTTP_THREADS": "5"}, 5),
        ],
    )
    def test_threads_are_as_many_as_have_a_connection(self, load, given, threads):
        given = {"SERVER_WORKERS": "1", "DATABASE_URL": POSTGRES, **given}
        settings = load({**given, "CONFIG_ENCRYPTION_KEYS": KEYRING})
        assert settings.server.http_threads == threads


class TestEmbedding:
    def test_directory_holds_everything(self, tmp_path):
        settings = Settings.for_directory(tmp_path, ocsp_response_validity="2h", server_port=9443)
        assert settings.data_dir == tmp_path
        assert settings.database.sqlite_path == tmp_path / "certctl.db"
        assert settings.ocsp.responder_key_dir == tmp_path / "ocsp-responder-keys"
        assert settings.ocsp.response_validity == timedelta(hours=2)
        assert settings.server.port == 9443
        assert settings.source_of("SERVER_PORT") == "program"
        assert settings.source_of("DATABASE_URL") == "default"

    def test_unknown_keyword_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match="CERTCTL_SERVER_PROT is no setting"):
            Settings.for_directory(tmp_path, server_prot=1)

    def test_typed_values_are_taken(self, tmp_path):
        settings = Settings.for_directory(
            tmp_path,
            job_lease=timedelta(minutes=1),
            bootstrap_token=Secret(TOKEN),
            trusted_proxies=["10.0.0.1"],
        )
        assert settings.jobs.lease == timedelta(minutes=1)
        assert settings.auth.bootstrap_token == Secret(TOKEN)

    def test_settings_are_frozen(self, tmp_path):
        settings = Settings.for_directory(tmp_path)
        with pytest.raises(Exception, match="frozen"):
            settings.server.port = 1  # type: ignore[misc]


class TestDataDirectory:
    @pytest.fixture
    def _no_system_directory(self, monkeypatch, tmp_path):
        # The test may run as root, who can write anywhere: move the system directory out of reach.
        file = tmp_path / "file"
        file.touch(mode=0o400)
        monkeypatch.setattr("certctl_core.kernel.config.load.DEFAULT_DATA_DIR", file / "certctl")
        monkeypatch.setattr(
            "certctl_core.kernel.config.load._is_writable", lambda path: tmp_path / "home" == path
        )

    @pytest.mark.usefixtures("_no_system_directory")
    def test_person_without_rights_gets_one_of_their_own(self, tmp_path):
        home = tmp_path / "home"
        assert default_data_dir({"HOME": str(home)}) == home / ".local/share/certctl"
        assert default_data_dir({"XDG_DATA_HOME": "/xdg"}) == Path("/xdg/certctl")

    @pytest.mark.usefixtures("_no_system_directory")
    def test_service_account_keeps_the_system_directory(self, tmp_path):
        system = tmp_path / "file" / "certctl"
        assert default_data_dir({}) == system
        assert default_data_dir({"HOME": "/"}) == system
        assert default_data_dir({"HOME": "/nonexistent"}) == system


class TestReflection:
    def test_explain_knows_every_setting(self, load):
        settings = load({"SERVER_PORT": "1"})
        found = settings.explain("certctl_server_port")
        assert (found.value, found.source) == ("1", "environment")
        assert found.spec.bounds == "1 to 65535"
        assert found.spec.attribute == "server.port"
        with pytest.raises(UnknownSetting):
            settings.explain("SERVER_PROT")

    def test_fingerprint_follows_values_and_not_secrets(self, load):
        first = load({"SERVER_PORT": "1", "METRICS_TOKEN": TOKEN})
        same = load({"METRICS_TOKEN": TOKEN + "2"}, "server_port = 1")
        other = load({"SERVER_PORT": "2", "METRICS_TOKEN": TOKEN})
        assert first.fingerprint() == same.fingerprint() != other.fingerprint()

    def test_changes_say_what_a_reload_takes(self, load):
        older = load()
        newer = load({"LOG_LEVEL": "debug", "SERVER_PORT": "1", "API_KEYS_NAMED": f"ci:{TOKEN}"})
        assert {change.name: change.live for change in older.changes(newer)} == {
            "CERTCTL_SERVER_PORT": False,
            "CERTCTL_API_KEYS_NAMED": True,
            "CERTCTL_LOG_LEVEL": True,
        }

    @pytest.mark.spec("08/CFG-1")
    @pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.name)
    def test_every_setting_is_described_and_its_example_is_another_value(self, spec, tmp_path):
        assert spec.description.endswith((".", "…"))
        if not spec.example:
            assert spec.is_secret
            return
        companions = {
            "SERVER_TLS_CERT_PATH": {"SERVER_TLS_KEY_PATH": "/k"},
            "SERVER_TLS_KEY_PATH": {"SERVER_TLS_CERT_PATH": "/c"},
            "CA_CERT_PATH": {"CA_KEY_PATH": "/k"},
            "CA_KEY_PATH": {"CA_CERT_PATH": "/c"},
            "SERVER_ENGINE": {"TRUSTED_PROXIES": "10.0.0.1"},
            "SERVER_WORKERS": {"DATABASE_URL": POSTGRES, "CONFIG_ENCRYPTION_KEYS": KEYRING},
            "DATABASE_URL": {"CONFIG_ENCRYPTION_KEYS": KEYRING},
            "CRL_GENERATION_INTERVAL": {"CRL_VALIDITY": "7d"},
            "SIGNER_CA": {"PKCS11_MODULE": "/usr/lib/softhsm/libsofthsm2.so"},
            "SIGNER_OCSP": {"PKCS11_MODULE": "/usr/lib/softhsm/libsofthsm2.so"},
            "SIGNER_AUDIT": {"PKCS11_MODULE": "/usr/lib/softhsm/libsofthsm2.so"},
            "AUDIT_KEY": {"PKCS11_MODULE": "/usr/lib/softhsm/libsofthsm2.so"},
        }
        given = {spec.name: spec.example, **companions.get(spec.name, {})}
        environ = {f"CERTCTL_{name}": text for name, text in given.items()}
        plain = load_settings(environ={"CERTCTL_DATA_DIR": "/tmp/certctl-example"})
        settings = load_settings(environ={"CERTCTL_DATA_DIR": "/tmp/certctl-example", **environ})
        assert spec.value_in(settings) != spec.value_in(plain)
        assert settings.source_of(spec.name) == "environment"

    @pytest.mark.spec("08/CFG-1")
    def test_reference_names_every_setting(self):
        from certctl_core.kernel.config.docs import settings_markdown, settings_schema

        page = settings_markdown()
        rows: Any = settings_schema()["settings"]
        assert [row["name"] for row in rows] == [spec.env_name for spec in specs().values()]
        for spec in specs().values():
            assert f"| `{spec.env_name}` |" in page
        assert page.count("\n## ") == len({spec.area_title for spec in specs().values()})
