"""Rules over several settings (08 CFG-9, GUARD)."""

from __future__ import annotations

import base64

import pytest

from certctl_core.kernel.config import ConfigError, Settings, load_settings

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


POSTGRES_RULES = [
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://u@db.example.com/x"}),
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://u@db.example.com/x?sslmode=prefer"}),
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://u@/x?host=/tmp,db.example.com"}),
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://u:p@localhost/x", "DATABASE_PASSWORD": "q"}),
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://localhost/x", "DATABASE_PASSWORD": "q"}),
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://u:changeme@localhost/x"}),
    ("DATABASE_MIGRATION_URL", {"DATABASE_MIGRATION_URL": "postgresql://db.example.com/x"}),
    ("DATABASE_MAX_CONNS", {"SERVER_WORKERS": "8", "HTTP_THREADS": "8"}),
]
TOKEN_CA = {"CA_CERT_PATH": "/c", "CA_KEY_PATH": "pkcs11:object=ca?module-path=/lib.so"}
RULES = [
    ("SERVER_TLS_KEY_PATH", {"SERVER_TLS_CERT_PATH": "/c"}),
    ("SERVER_TLS_CERT_PATH", {"SERVER_TLS_KEY_PATH": "/k"}),
    ("CA_KEY_PATH", {"CA_CERT_PATH": "/c"}),
    ("CA_KEY_PASSPHRASE", {"CA_KEY_PASSPHRASE": "something long"}),
    ("PKCS11_MODULE", {"SIGNER_CA": "pkcs11"}),
    ("PKCS11_MODULE", {"SIGNER_OCSP": "pkcs11"}),
    ("PKCS11_MODULE", {"SIGNER_AUDIT": "pkcs11"}),
    ("PKCS11_MODULE", {"AUDIT_KEY": "pkcs11:object=audit"}),
    ("AUDIT_KEY", {"AUDIT_KEY": "/etc/certctl/audit.key"}),
    ("AUDIT_KEY", {"AUDIT_KEY": "pkcs11:object=audit;slot-id=1"}),
    ("PKCS11_MODULE", {"CA_CERT_PATH": "/c", "CA_KEY_PATH": "pkcs11:object=ca"}),
    ("PKCS11_MODULE", {**TOKEN_CA, "PKCS11_MODULE": "/another.so"}),
    ("CA_KEY_PATH", {"CA_CERT_PATH": "/c", "CA_KEY_PATH": "ca.key"}),
    ("CA_KEY_PATH", {"CA_CERT_PATH": "/c", "CA_KEY_PATH": "pkcs11:object=ca;slot-id=1"}),
    ("CA_KEY_PASSPHRASE", {**TOKEN_CA, "CA_KEY_PASSPHRASE": "something long"}),
    ("PKI_HTTP_LISTEN", {"PKI_HTTP_LISTEN": "0.0.0.0:8443"}),
    ("METRICS_BIND", {"PKI_HTTP_LISTEN": "127.0.0.1:8080", "METRICS_BIND": "127.0.0.1:8080"}),
    ("METRICS_TOKEN", {"METRICS_BIND": "0.0.0.0:9090"}),
    ("TRUSTED_PROXIES", {"SERVER_ENGINE": "waitress"}),
    (
        "SERVER_HOST",
        {"SERVER_ENGINE": "waitress", "TRUSTED_PROXIES": "10.0.0.1", "SERVER_HOST": "10.0.0.2"},
    ),
    ("CORS_ORIGINS", {"CORS_ORIGINS": "*"}),
    ("CORS_ORIGINS", {"CORS_ORIGINS": "http://portal.example.com"}),
    ("SERVER_WORKERS", {"SERVER_WORKERS": "2"}),
    ("CONFIG_ENCRYPTION_KEYS", {"DATABASE_URL": POSTGRES}),
    ("CONFIG_ENCRYPTION_KEYS", {"CONFIG_ENCRYPTION_KEYS": "k1:short"}),
    (
        "CONFIG_ENCRYPTION_KEY",
        {"CONFIG_ENCRYPTION_KEYS": KEYRING, "CONFIG_ENCRYPTION_KEY": "a" * 40},
    ),
    ("CONFIG_ENCRYPTION_KEY", {"CONFIG_ENCRYPTION_KEY": "change-me" + "e" * 40}),
    ("SESSION_ABSOLUTE_TIMEOUT", {"SESSION_IDLE_TIMEOUT": "8h"}),
    ("SESSION_SIGNING_KEY_RETENTION", {"SESSION_SIGNING_KEY_RETENTION": "7h"}),
    ("CRL_VALIDITY", {"CRL_VALIDITY": "119m"}),
    ("OCSP_RESPONDER_VALIDITY", {"OCSP_RESPONDER_VALIDITY": "7d"}),
    ("OCSP_HTTP_MAX_AGE", {"OCSP_HTTP_MAX_AGE": "61m"}),
    ("BOOTSTRAP_TOKEN", {"BOOTSTRAP_TOKEN": "a" * 31}),
    ("AGENT_BOOTSTRAP_TOKEN", {"AGENT_BOOTSTRAP_TOKEN": "Change-Me-please-and-soon"}),
    ("METRICS_TOKEN", {"METRICS_TOKEN": "admin"}),
    ("API_KEYS_NAMED", {"API_KEYS_NAMED": "ci:secret"}),
    ("API_KEYS_NAMED", {"API_KEYS_NAMED": "ci"}),
    ("API_KEYS_NAMED", {"API_KEYS_NAMED": f"c i:{TOKEN}"}),
    ("API_KEYS_NAMED", {"API_KEYS_NAMED": f"ci:{TOKEN}:root"}),
    ("API_KEYS_NAMED", {"API_KEYS_NAMED": f"ci:{TOKEN},ci:{TOKEN}"}),
    ("API_KEYS_NAMED", {"API_KEYS_NAMED": f"a:{TOKEN},b:{TOKEN}"}),
    ("API_KEYS_NAMED", {"API_KEYS_NAMED": f"ci:{TOKEN}:admin,ci:{TOKEN}2:viewer"}),
    *(
        (name, {"DATABASE_URL": POSTGRES, "CONFIG_ENCRYPTION_KEYS": KEYRING, **given})
        for name, given in POSTGRES_RULES
    ),
]


class TestRules:
    @pytest.mark.spec(
        "08/CFG-9",
        "08/GUARD-5",
        "08/GUARD-6",
        "08/GUARD-8",
        "08/GUARD-9",
        "05/BOOT-1",
        "05/DEMO-4",
        "08/GUARD-10",
        "05/SEC-4",
        "06/SEC-4",
    )
    @pytest.mark.parametrize(("name", "environ"), RULES)
    def test_broken_rule_names_the_setting(self, refused, name, environ):
        found = refused(environ)
        assert name in found
        for secret in (TOKEN, "short", "changeme", "something long"):
            assert all(secret not in text.split("shorter")[0] for text in found.values())

    @pytest.mark.parametrize(
        "environ",
        [
            {"SERVER_ENGINE": "waitress", "TRUSTED_PROXIES": "10.0.0.1"},
            {
                "SERVER_ENGINE": "waitress",
                "TRUSTED_PROXIES": "10.0.0.0/24",
                "SERVER_HOST": "10.0.0.5",
            },
            {"CORS_ORIGINS": "https://portal.example.com,http://localhost:3000,http://[::1]:1"},
            {"METRICS_BIND": "0.0.0.0:9090", "METRICS_TOKEN": TOKEN},
            {"API_KEYS_NAMED": f"ci:{TOKEN}:admin,ci:{TOKEN}2:admin"},
            {
                "DATABASE_URL": "postgresql://u@db.example.com/x?sslmode=verify-full",
                "CONFIG_ENCRYPTION_KEYS": KEYRING,
            },
            {
                "DATABASE_URL": "postgresql://u@db.example.com/x",
                "DATABASE_ALLOW_PLAINTEXT": "true",
                "CONFIG_ENCRYPTION_KEY": "correct horse battery staple and more",
            },
            {"DATABASE_URL": "postgresql:///x?host=/run/pg", "CONFIG_ENCRYPTION_KEYS": KEYRING},
        ],
    )
    def test_the_good_side_of_each_rule(self, load, environ):
        load(environ)

    def test_embedding_is_held_to_the_rules(self, tmp_path):
        with pytest.raises(ConfigError, match="SERVER_TLS_KEY_PATH"):
            Settings.for_directory(tmp_path, server_tls_cert_path="/c")


@pytest.mark.spec("02/SIGN-8")
@pytest.mark.parametrize(
    "given",
    [
        {"CA_CERT_PATH": "/c", "CA_KEY_PATH": "pkcs11:object=ca?module-path=/x&pin-value=471108"},
        {"CA_PREVIOUS": "/c:pkcs11:object=ca?pin-value=471108"},
        {"AUDIT_KEY": "pkcs11:object=audit?module-path=/x&pin-value=471108"},
    ],
)
def test_a_pin_inside_a_reference_is_refused_and_not_repeated(refused, given):
    problems = refused({**given, "PKCS11_MODULE": "/x"})
    assert set(problems) & set(given)
    assert "PIN" in "".join(problems.values())
    assert "471108" not in "".join(problems.values())


@pytest.mark.spec("02/SIGN-8")
def test_a_key_in_a_token_is_taken_with_its_library(load):
    settings = load(TOKEN_CA)
    assert settings.ca.key_path == TOKEN_CA["CA_KEY_PATH"]
    assert settings.signers.ca == "file"
    named = load({"SIGNER_CA": "pkcs11", "PKCS11_MODULE": "/lib.so", "PKCS11_PIN": "471108"})
    assert "471108" not in repr(named.signers)


@pytest.mark.spec("02/CERT-15")
@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, None),
        ({"PUBLIC_URL": "https://certctl.example.com"}, "CERTCTL_PUBLIC_URL"),
        ({"PKI_BASE_URL": "https://pki.example.com"}, "CERTCTL_PKI_BASE_URL"),
        (
            {
                "PUBLIC_URL": "https://certctl.example.com",
                "PKI_BASE_URL": "http://pki.example.com",
            },
            None,
        ),
    ],
)
def test_https_inside_certificates_is_warned_about(load, environ, named):
    warnings = load(environ).warnings

    if named is None:
        assert warnings == ()
    else:
        (warning,) = warnings
        assert warning.startswith(f"{named} makes")
        assert "CERTCTL_PKI_HTTP_LISTEN" in warning
