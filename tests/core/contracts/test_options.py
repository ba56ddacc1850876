"""Plugin configurations: fields, schema, storage, change (spec 06 §1.2, §1.3, §3.2; 07 §10)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
import trustme
from typing_extensions import override

from certctl_core.contracts.options import (
    AbsPath,
    ClientCert,
    Command,
    ConfigInvalid,
    DnsName,
    Duration,
    Email,
    FileMode,
    HookName,
    Host,
    HttpsUrl,
    HttpUrl,
    KeyValue,
    Owner,
    PemBundle,
    PluginConfig,
    Port,
    Secret,
    SecretNeedsReentry,
    check_reentry,
    client_cert,
    config_schema,
    destinations,
    join_secrets,
    load_config,
    merge_config,
    option,
    parse_path,
    path_name,
    public_config,
    resolve_references,
    secret,
    secret_fields,
    split_secrets,
    validate_config,
)

CANARY = "canary-token-value"


class Widgets(PluginConfig):
    base_url: HttpsUrl = option(
        "https://CA.example.com/api", title="API URL", help="Where.", group="Connection"
    )
    api_key: Secret = secret(title="API key", help="From the portal.")
    mode: Literal["mtls", "oauth2"] = option("mtls", title="Authentication", help="How.")
    token: Secret | None = secret(None, title="Token", visible_when={"mode": "oauth2"})
    client: ClientCert | None = client_cert(required=False)
    ca_bundle: PemBundle | None = option(None, title="Server CA", group="TLS")
    headers: dict[str, Secret] = secret({}, title="Headers")
    timeout: Duration = option("30s", title="Time-out")
    command: Command = option("nginx -t", title="Check")
    file_mode: FileMode = option("0640", title="Mode")


@pytest.fixture(scope="module")
def pair():
    authority = trustme.CA()
    leaf = authority.issue_cert("client.example.test")
    return {
        "cert": leaf.cert_chain_pems[0].bytes().decode(),
        "key": leaf.private_key_pem.bytes().decode(),
    }


def widgets(**extra):
    return validate_config(Widgets, {"api_key": CANARY, **extra})


GOOD = [
    (HttpsUrl, "https://CA.example.com:8443/a?b=1", "https://ca.example.com:8443/a?b=1"),
    (HttpsUrl, "https://[2001:DB8::1]/", "https://[2001:db8::1]/"),
    (HttpUrl, "http://sink.internal.example/x", "http://sink.internal.example/x"),
    (Host, "LDAP.example.com.", "ldap.example.com"),
    (Host, "192.0.2.7", "192.0.2.7"),
    (DnsName, "例え.example", "xn--r8jz45g.example"),
    (Email, "ops@EXAMPLE.com", "ops@example.com"),
    (HookName, "dns-publish.sh", "dns-publish.sh"),
    (AbsPath, "/etc//nginx/cert.pem", "/etc/nginx/cert.pem"),
    (Owner, "www-data", "www-data"),
    (PemBundle, "secretref:file:/etc/ssl/ca.pem", "secretref:file:/etc/ssl/ca.pem"),
]
BAD = [
    (HttpsUrl, "http://ca.example.com"),
    (HttpsUrl, "https://user:pw@ca.example.com/"),
    (HttpsUrl, "https://ca.example.com/#x"),
    (HttpsUrl, "https://ca.example.com\\@evil.example/"),
    (HttpsUrl, "https:///x"),
    (HttpsUrl, "https://ca.example.com:99999/"),
    (HttpsUrl, "https://2130706433/"),
    (HttpsUrl, "https://0x7f000001/"),
    (HttpsUrl, "https://ca.example.com/ x"),
    (HttpsUrl, "https://ca.example.com/\nx"),
    (HttpsUrl, "https://" + "a" * 2100),
    (HttpUrl, "ftp://ca.example.com"),
    (Host, "ca.example.com:443"),
    (Host, "ca_1/example"),
    (DnsName, "*.example.com"),
    (Email, "nobody"),
    (HookName, "../x"),
    (AbsPath, "etc/x"),
    (AbsPath, "/etc/../shadow"),
    (AbsPath, "/"),
    (Owner, "root:root"),
    (PemBundle, "not a certificate"),
    (PemBundle, "secretref:file"),
]


class TestFields:
    @pytest.mark.spec("06/CFG-2")
    @pytest.mark.parametrize(("kind", "text", "form"), GOOD)
    def test_one_form(self, kind, text, form):
        assert kind.of(text) == form
        assert isinstance(kind.of(text), kind)

    @pytest.mark.parametrize(("kind", "text"), BAD)
    def test_refused(self, kind, text):
        with pytest.raises(ValueError) as caught:
            kind.of(text)
        assert text not in str(caught.value)

    def test_pem_bundle_refuses_a_private_key(self, pair):
        assert len(PemBundle.of(pair["cert"]).certificates) == 1
        with pytest.raises(ValueError):
            PemBundle.of(pair["cert"] + pair["key"])

    @pytest.mark.parametrize(
        ("given", "expected", "written"),
        [
            ("30s", timedelta(seconds=30), "30s"),
            ("90s", timedelta(seconds=90), "90s"),
            ("5m", timedelta(minutes=5), "5m"),
            ("24h", timedelta(days=1), "1d"),
            ("7d", timedelta(days=7), "7d"),
            ("1h30m", timedelta(minutes=90), "90m"),
            (10, timedelta(seconds=10), "10s"),
            (0.25, timedelta(milliseconds=250), "250ms"),
        ],
    )
    def test_durations(self, given, expected, written):
        config = widgets(timeout=given)
        assert config.timeout == expected
        assert config.model_dump(mode="json")["timeout"] == written

    @pytest.mark.parametrize("given", ["", "5", "5 m", "-1s", "1w", True, -1, "99999d", None])
    def test_bad_durations(self, given):
        with pytest.raises(ConfigInvalid) as caught:
            widgets(timeout=given)
        assert [f.field for f in caught.value.fields] == ["timeout"]

    @pytest.mark.spec("07/CMD-01")
    def test_commands(self):
        assert widgets().command.argv == ("nginx", "-t")
        given = ["systemctl", "reload", "my app"]
        config = widgets(command=given)
        assert config.command.argv == tuple(given)
        assert config.model_dump(mode="json")["command"] == given

    @pytest.mark.spec("07/CMD-02")
    @pytest.mark.parametrize(
        "given",
        [
            *(f"a {char} b" for char in ";|&$`(){}<>\\\"'\r\n\0"),
            *("", "   ", "a" * 1025, [], ["a"] * 33, ["a\nb"], [""], ["a", 3]),
        ],
    )
    def test_refused_commands(self, given):
        with pytest.raises(ConfigInvalid):
            widgets(command=given)

    def test_file_modes_are_octal_text(self):
        assert widgets(file_mode="0600").file_mode == 0o600
        assert widgets().model_dump(mode="json")["file_mode"] == "0640"
        for bad in ("0888", "u+x", 1000, "07777"):
            with pytest.raises(ConfigInvalid):
                widgets(file_mode=bad)

    def test_ports_and_maps(self):
        class Other(PluginConfig):
            port: Port = option(587, title="Port")
            tags: KeyValue = option({}, title="Tags")

        assert validate_config(Other, {"tags": {"a/b": "c"}}).port == 587
        for bad in (
            {"port": 0},
            {"port": 65536},
            {"tags": {" ": "x"}},
            {"tags": {"a": "x" * 5000}},
        ):
            with pytest.raises(ConfigInvalid):
                validate_config(Other, bad)

    def test_client_certificate_must_fit_its_key(self, pair):
        assert widgets(client=pair).client is not None
        other = trustme.CA().issue_cert("x.example.test").private_key_pem.bytes().decode()
        for bad in ({**pair, "key": other}, {**pair, "key": "x"}, {**pair, "passphrase": "p"}):
            with pytest.raises(ConfigInvalid) as caught:
                widgets(client=bad)
            assert caught.value.fields[0].field.startswith("client")


class TestModel:
    def test_unknown_keys_are_refused_and_strings_stripped(self):
        with pytest.raises(ConfigInvalid) as caught:
            widgets(surprise=1)
        assert caught.value.fields[0].field == "surprise"
        assert widgets(base_url="  https://a.example/ ").base_url == "https://a.example/"

    def test_is_immutable(self):
        with pytest.raises(ValueError):
            widgets().mode = "oauth2"

    @pytest.mark.spec("06/CFG-1")
    def test_schema_carries_the_metadata(self):
        schema = config_schema(Widgets)
        fields = schema["properties"]
        assert fields["base_url"]["x-certctl"] == {"group": "Connection", "order": 0}
        assert fields["base_url"]["title"] == "API URL"
        assert fields["base_url"]["description"] == "Where."
        assert fields["api_key"]["writeOnly"] is True
        assert fields["api_key"]["format"] == "password"
        assert fields["api_key"]["x-certctl"]["secret"] is True
        assert fields["token"]["x-certctl"]["visible_when"] == {"mode": "oauth2"}
        assert schema["$defs"]["ClientCert"]["properties"]["key"]["writeOnly"] is True
        json.dumps(schema)

    @pytest.mark.spec("06/CFG-6")
    def test_secret_declaration_and_type_go_together(self):
        with pytest.raises(TypeError):

            class Loud(PluginConfig):
                token: Secret = option(title="Token")

        with pytest.raises(TypeError):

            class Shy(PluginConfig):
                token: str = secret(title="Token")

    @pytest.mark.spec("06/CFG-3")
    def test_refusals_never_quote_the_secret(self):
        class Strict(PluginConfig):
            token: Secret = secret(title="Token")
            count: int = option(title="Count")

            @override
            def model_post_init(self, context):
                message = f"bad token {self.token.reveal()}"
                raise ValueError(message)

        for raw in ({"token": CANARY, "count": CANARY}, {"token": CANARY, "count": 1}):
            with pytest.raises(ConfigInvalid) as caught:
                validate_config(Strict, raw)
            assert CANARY not in str(caught.value.fields) + str(caught.value)
            assert caught.value.__cause__ is None


class TestStorage:
    @pytest.mark.spec("06/SEC-1")
    def test_only_secrets_are_taken_out(self, pair):
        config = widgets(client=pair, headers={"X-Api.Key": "h"}, token="secretref:env:TOKEN")
        plain, secrets = split_secrets(config)
        assert set(secrets) == {"api_key", "client.key", "headers.X-Api%2EKey"}
        assert CANARY not in json.dumps(plain)
        assert plain["token"] == "secretref:env:TOKEN"
        assert plain["schema_version"] == 1
        assert load_config(Widgets, json.loads(json.dumps(plain)), secrets) == config

    def test_paths_survive_odd_names(self):
        path = ("a", "b.c%2E", "d")
        assert parse_path(path_name(path)) == path

    @pytest.mark.spec("06/CFG-5")
    def test_older_forms_are_upgraded(self):
        class Second(PluginConfig):
            schema_version = 2
            url: HttpsUrl = option(title="URL")
            key: Secret = secret(title="Key")

            @override
            @classmethod
            def upgrade(cls, raw, from_version):
                raw["url"] = raw.pop("address")
                return raw

        stored: dict[str, Any] = {"address": "https://a.example/", "key": "********"}
        assert load_config(Second, stored, {"key": "k"}).url == "https://a.example/"
        for broken in ({"key": "********"}, {**stored, "schema_version": 3}):
            with pytest.raises(ConfigInvalid) as caught:
                load_config(Second, broken, {"key": "k"})
            assert caught.value.fields[0].field == "schema_version"

    def test_a_lost_secret_is_named(self):
        with pytest.raises(ConfigInvalid) as caught:
            load_config(Widgets, {"api_key": "********"}, {})
        assert caught.value.fields[0].field == "api_key"

    @pytest.mark.spec("06/CFG-4")
    def test_references_are_resolved_at_use(self, pair):
        given = {
            "api_key": "secretref:env:CERTCTL_SECRET_KEY",
            "ca_bundle": "secretref:file:/etc/ca.pem",
            "client": {"cert": "secretref:vault:pki/cert", "key": "secretref:vault:pki/key"},
        }
        texts = {
            "CERTCTL_SECRET_KEY": CANARY,
            "/etc/ca.pem": pair["cert"],
            "pki/cert": pair["cert"],
            "pki/key": pair["key"],
        }
        config = validate_config(Widgets, given)
        resolved = resolve_references(config, lambda reference: texts[reference.path])
        assert resolved.api_key.reveal() == CANARY
        assert resolved.ca_bundle == pair["cert"].strip()
        assert resolved.client is not None
        assert split_secrets(config)[1] == {}
        with pytest.raises(ConfigInvalid):
            resolve_references(config, lambda _: "garbage")
        with pytest.raises(ConfigInvalid):
            widgets(api_key="secretref:nonsense")

    @pytest.mark.spec("07/PLG-01")
    def test_shown_form_says_set_and_never_what(self, pair):
        plain, _ = split_secrets(widgets(client=pair, token="secretref:env:TOKEN"))
        at = datetime(2026, 1, 2, tzinfo=UTC)
        shown: Any = public_config(Widgets, plain, updated_at={"api_key": at})
        assert shown["api_key"] == {"set": True, "updated_at": "2026-01-02T00:00:00Z"}
        assert shown["client"]["key"] == {"set": True}
        assert shown["token"] == {"set": True, "ref": "secretref:env:TOKEN"}
        assert shown["client"]["passphrase"] is None
        assert "schema_version" not in shown


class TestChange:
    @pytest.fixture
    def stored(self, pair):
        return split_secrets(widgets(client=pair, token="t-secret", headers={"A": "a1", "B": "b1"}))

    def apply(self, stored, changes, *, replace):
        plain, secrets = stored
        merged = merge_config(Widgets, plain, secrets, changes, replace=replace)
        return validate_config(Widgets, merged.raw), merged.kept

    def test_patch_keeps_clears_and_replaces(self, stored):
        config, kept = self.apply(
            stored, {"mode": "oauth2", "token": None, "api_key": "new-key"}, replace=False
        )
        assert config.mode == "oauth2"
        assert config.token is None
        assert config.api_key.reveal() == "new-key"
        assert kept == {"client.key", "headers.A", "headers.B"}

    @pytest.mark.parametrize("mark", ["********", {"set": True, "updated_at": "x"}])
    def test_put_keeps_marked_and_omitted_secrets(self, stored, pair, mark):
        config, kept = self.apply(
            stored,
            {"api_key": mark, "client": {"cert": pair["cert"]}, "headers": {"A": mark}},
            replace=True,
        )
        assert config.api_key.reveal() == CANARY
        assert config.client.key.reveal() == pair["key"].strip()
        assert {name: value.reveal() for name, value in config.headers.items()} == {"A": "a1"}
        assert config.token.reveal() == "t-secret"
        assert kept == {"api_key", "client.key", "headers.A", "token"}

    def test_round_trip_of_the_shown_form_changes_nothing(self, stored):
        shown = public_config(Widgets, stored[0])
        config, _ = self.apply(stored, shown, replace=True)
        assert config == load_config(Widgets, *stored)

    def test_nothing_stored_to_keep_is_refused(self, stored):
        with pytest.raises(ConfigInvalid) as caught:
            self.apply(stored, {"headers": {"C": "********"}}, replace=False)
        assert caught.value.fields[0].field == "headers.C"

    @pytest.mark.spec("06/SEC-6")
    def test_stored_secret_is_not_sent_to_a_new_host(self, stored):
        old = load_config(Widgets, *stored)
        new, kept = self.apply(stored, {"base_url": "https://evil.example/"}, replace=False)
        with pytest.raises(SecretNeedsReentry) as caught:
            check_reentry(old, new, kept)
        assert "api_key" in [field.field for field in caught.value.fields]
        same, kept = self.apply(stored, {"base_url": "https://ca.example.com/v2"}, replace=False)
        check_reentry(old, same, kept)
        assert destinations(old) == {"ca.example.com:443"}

    def test_inputs_are_left_alone(self, stored):
        before = json.dumps(stored)
        changes = {"api_key": "********"}
        self.apply(stored, changes, replace=True)
        assert json.dumps(stored) == before
        assert changes == {"api_key": "********"}


def test_secret_fields_and_join():
    assert secret_fields(Widgets) == (
        "api_key",
        "token",
        "client.key",
        "client.passphrase",
        "headers",
    )
    assert join_secrets({"a": "********"}, {"a": "x", "gone.b": "y"}) == {"a": "x"}
