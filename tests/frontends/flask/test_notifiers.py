"""The pages of notifiers and notification routes (01 UI-03, 06 §7, §8)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from certctl_core.app import Core
from tests.core.notifications.conftest import PATIENCE, Receiver, failed, receiver, receiver_of
from tests.frontends.flask.browsing import Reader, card, words

__all__ = ["receiver", "receiver_of"]

pytestmark = pytest.mark.parametrize("database_engine", ["sqlite"])

SECRET = "whsec_" + "QUJD" * 11
NEW = {"kind": "webhook", "name": "Operators", "enabled": "true", "config[format]": "certctl"}


def made(core: Core, receiver: Receiver, **config: object) -> Any:
    body = {"name": "Operators", "kind": "webhook", "config": {"url": receiver.url, **config}}
    return core.call("notifiers.create", body=body)


def fields(html: str) -> dict[str, str]:
    """What a browser would send of the form of a notifier that nobody changed."""
    form = html[html.index('<form class="form"') :].partition("</form>")[0]
    found = dict(re.findall(r'<input[^>]* name="([^"]+)"[^>]* value="([^"]*)"', form))
    boxes = re.findall(
        r'<input type="checkbox" name="([^"]+)"[^>]*?( checked)?(?: aria[^>]*)?>', form
    )
    for name, checked in boxes:
        found.pop(name, None)
        if checked:
            found[name] = "true"
    found |= dict(re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>([^<]*)</textarea>', form))
    for name, options in re.findall(
        r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL
    ):
        found[name] = re.findall(r'value="([^"]*)" selected', options)[0]
    found.pop("csrf_token")
    return found


class TestMaking:
    @pytest.mark.spec("06/WH-4")
    def test_the_secret_is_shown_once(self, core: Core, receiver: Receiver) -> None:
        reader = Reader(core)
        assert "Webhook A signed JSON document" in words(reader.open("/ui/notifiers/new"))
        form = reader.open("/ui/notifiers/new?kind=webhook")
        assert "Receives a POST for each message." in words(form)

        answer = reader.post("/ui/notifiers/new", **NEW, **{"config[url]": receiver.url})

        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        (secret,) = re.findall(r"<code>(whsec_[^<]+)</code>", answer.text)
        (hook,) = core.call("notifiers.list").data
        assert f"/ui/notifiers/{hook.id}" in answer.text
        assert core.call("notifiers.test", path={"notifier_id": hook.id}, body={"send": True}).ok
        assert receiver.received[0].is_signed_with(secret)
        for page in (f"/ui/notifiers/{hook.id}", f"/ui/notifiers/{hook.id}/edit", "/ui/notifiers"):
            assert secret not in reader.open(page)

    def test_what_is_wrong_stands_at_its_field_and_secrets_do_not_come_back(
        self, core: Core
    ) -> None:
        sent = {
            "config[url]": "nowhere",
            "config[secret]": SECRET,
            "config[headers]": f'{{"A": "{SECRET}"}}',
        }

        answer = Reader(core).post("/ui/notifiers/new", **NEW, **sent)

        assert answer.status_code == 400
        assert re.search(r'name="config\[url\]"[^>]*value="nowhere"[^>]*aria-invalid', answer.text)
        assert SECRET not in answer.text
        assert core.call("notifiers.list").total == 0

    def test_what_is_wrong_with_several_fields_together_is_told(self, core: Core) -> None:
        url = {"config[url]": "https://hooks.example.com/", "config[headers]": '{"Host": "x"}'}

        answer = Reader(core).post("/ui/notifiers/new", **NEW, **url)

        assert answer.status_code == 400
        assert "The header 'Host' cannot be set." in words(answer.text)

    def test_one_that_cannot_be_reached_is_not_saved_where_that_was_asked(
        self, core: Core, receiver: Receiver
    ) -> None:
        url = {"config[url]": "http://127.0.0.1:1/", "config[secret]": SECRET}

        answer = Reader(core).post("/ui/notifiers/new", **NEW, **url, test="true")

        assert answer.status_code == 422
        assert "nothing was saved" in words(answer.text)
        assert "failed" in card(answer.text, "What the test found")
        assert core.call("notifiers.list").total == 0


class TestChanging:
    @pytest.mark.spec("06/CFG-5")
    def test_secrets_that_are_left_empty_stay(self, core: Core, receiver: Receiver) -> None:
        hook = made(core, receiver, secret=SECRET, headers={"X-Team": "blue"})
        reader = Reader(core)
        page = f"/ui/notifiers/{hook.id}"
        html = reader.open(f"{page}/edit")
        assert "it stays when this is left empty." in words(html)
        form = fields(html)
        answer = reader.post(f"{page}/edit", **form | {"name": "Night shift"})

        assert answer.status_code == 303, answer.text
        stored = core.call("notifiers.get", path={"notifier_id": hook.id})
        assert (stored.name, list(stored.config["headers"])) == ("Night shift", ["X-Team"])
        reader.post(f"{page}/test", send="true")
        (message,) = receiver.received
        assert message.is_signed_with(SECRET)
        assert message.headers["x-team"] == "blue"

    def test_a_secret_can_be_taken_away(self, core: Core, receiver: Receiver) -> None:
        hook = made(core, receiver, secret=SECRET, previous_secret="whsec_" + "REVG" * 11)
        reader = Reader(core)
        form = fields(reader.open(f"/ui/notifiers/{hook.id}/edit"))

        reader.post(f"/ui/notifiers/{hook.id}/edit", **form, **{"clear[previous_secret]": "true"})

        config = core.call("notifiers.get", path={"notifier_id": hook.id}).config
        assert config["previous_secret"] is None
        assert config["secret"]["set"] is True

    def test_another_host_wants_the_secret_again(self, core: Core, receiver: Receiver) -> None:
        hook = made(core, receiver, secret=SECRET)
        reader = Reader(core)
        form = fields(reader.open(f"/ui/notifiers/{hook.id}/edit"))

        answer = reader.post(
            f"/ui/notifiers/{hook.id}/edit", **form | {"config[url]": "https://other.example.com/"}
        )

        assert answer.status_code == 422
        assert "enter it again: the host has changed" in words(answer.text)
        assert re.search(r'name="config\[secret\]"[^>]*aria-invalid', answer.text)

    def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
        self, core: Core, receiver: Receiver
    ) -> None:
        hook = made(core, receiver)
        reader = Reader(core)
        form = fields(reader.open(f"/ui/notifiers/{hook.id}/edit"))
        path = {"notifier_id": hook.id}
        core.call("notifiers.update", path=path, body={"name": "Theirs"})

        answer = reader.post(f"/ui/notifiers/{hook.id}/edit", **form | {"name": "Mine"})

        assert answer.status_code == 412
        assert "has changed since you read it" in words(answer.text)
        assert core.call("notifiers.get", path=path).name == "Theirs"

    def test_one_that_a_route_names_is_not_deleted(self, core: Core, receiver: Receiver) -> None:
        hook = made(core, receiver)
        body = {
            "name": "Revoked",
            "notifiers": [hook.id],
            "match": {"events": ["certificate.revoked"]},
        }
        route = core.call("notification_routes.create", body=body)
        reader = Reader(core)

        answer = reader.post(f"/ui/notifiers/{hook.id}/delete")

        assert answer.status_code == 409
        assert "1 route names it: take it out of them first." in words(answer.text)
        core.call("notification_routes.delete", path={"route_id": route.id})
        with core.begin() as uow:
            uow.emit(failed("mc-web"))
        waiting = reader.post(f"/ui/notifiers/{hook.id}/delete")
        assert "1 message waits for it." in words(waiting.text)
        assert reader.post(f"/ui/notifiers/{hook.id}/delete", force="true").status_code == 303
        assert core.call("notifiers.list").total == 0


class TestLooking:
    def test_the_answer_to_a_test_is_shown(self, core: Core, receiver: Receiver) -> None:
        hook = made(core, receiver)
        reader = Reader(core)
        page = f"/ui/notifiers/{hook.id}"
        assert "Not tested yet" in card(reader.open(page), "Last test")

        reader.post(f"{page}/test", send="true")
        html = reader.open(page)
        assert "The test message is delivered: HTTP status 204." in words(html)
        assert "HTTP status 204" in card(html, "Last test")
        assert receiver.received[0].json()["test"] is True

        receiver.status = 503
        answer = reader.post(f"{page}/test", send="true")
        assert answer.status_code == 200
        assert "The test failed" in words(answer.text)
        assert "503" in card(answer.text, "Last test")
        assert "Failing" in words(reader.open("/ui/notifiers?filter[health]=failing"))

    def test_its_newest_deliveries_and_routes_are_listed(
        self, core: Core, receiver: Receiver
    ) -> None:
        hook = made(core, receiver)
        reader = Reader(core)
        assert "None yet" in words(reader.open("/ui/notifiers"))
        with core.begin() as uow:
            uow.emit(failed("mc-web"))
        core.background.deliveries.run(wait=PATIENCE)

        html = reader.open(f"/ui/notifiers/{hook.id}")

        assert "renewal.failed HTTP status 204 Sent 1" in card(html, "Newest deliveries")
        assert "Everything from warning on" in card(html, "Routes that lead here")
        assert "Sent" in words(reader.open("/ui/notifiers"))

    @pytest.mark.spec("01/UI-03")
    def test_who_only_reads_is_offered_nothing(self, core: Core, receiver: Receiver) -> None:
        hook = made(core, receiver)
        reader = Reader(core, "r-viewer")

        html = reader.open(f"/ui/notifiers/{hook.id}")

        assert "Send a test" not in html.partition("Last test")[0]
        assert "/edit" not in html
        assert 'href="/ui/notifiers"' in html
        assert "New notifier" not in reader.open("/ui/notifiers")
        assert reader.post(f"/ui/notifiers/{hook.id}/test", send="true").status_code == 403
        assert receiver.received == []
        for path in ("/ui/notifiers/new", "/ui/notification-routes/new"):
            refused = reader.client.get(
                path, base_url="https://certctl.example.test", headers={"Accept": "text/html"}
            )
            assert refused.status_code == 403


class TestRoutes:
    @pytest.mark.spec("06/RTE-1")
    def test_one_is_made_read_changed_and_deleted(self, core: Core, receiver: Receiver) -> None:
        hook = made(core, receiver)
        reader = Reader(core)
        form = reader.open("/ui/notification-routes/new")
        assert 'value="certificate.*"' in form

        answer = reader.post(
            "/ui/notification-routes/new",
            name="Stolen keys",
            priority="5",
            enabled="true",
            events=["certificate.revoked", "key.*"],
            severities=["warning", "critical"],
            environments="production\r\n",
            issuer_ids="iss-local",
            notifiers=hook.id,
        )

        assert answer.status_code == 303, answer.text
        page = answer.headers["Location"]
        said = (
            "Operators is told of certificate.revoked and all key events with severity warning or "
            "critical where the environment is production and the issuer is Local CA. "
            "Then later routes are not looked at any more."
        )
        assert said in words(reader.open(page))
        assert said in words(reader.open("/ui/notification-routes"))
        html = reader.open(f"{page}/edit")
        for value in ("certificate.revoked", "key.*", "warning", "iss-local", hook.id):
            assert re.search(rf'value="{re.escape(value)}" checked', html), value
        (version,) = re.findall(r'name="version" value="(\d+)"', html)
        changed = reader.post(
            f"{page}/edit", name="Keys", priority="7", notifiers="*", version=version,
            **{"continue": "true"},
        )  # fmt: skip
        assert changed.status_code == 303, changed.text
        told = (
            "Every enabled notifier is told of everything. Then later routes are looked at as well."
        )
        assert told in words(reader.open(page))
        outdated = reader.post(f"{page}/edit", name="x", notifiers="*", version=version)
        assert outdated.status_code == 412
        assert reader.post(f"{page}/delete").status_code == 303
        assert core.call("notification_routes.list").total == 1

    def test_what_is_wrong_is_kept_and_told(self, core: Core) -> None:
        answer = Reader(core).post(
            "/ui/notification-routes/new", name="x", priority="many", events="crl.regenerated"
        )

        assert answer.status_code == 400
        assert 'value="crl.regenerated" checked' in answer.text
        for name in ("priority", "notifiers"):
            assert f'id="f-{name}-error"' in answer.text

    def test_who_would_be_told_can_be_asked(self, core: Core, receiver: Receiver) -> None:
        made(core, receiver)
        reader = Reader(core, "r-viewer")

        loud = reader.open("/ui/notification-routes?event=certificate.revoked")
        quiet = reader.open("/ui/notification-routes?event=certificate.issued")
        louder = reader.open("/ui/notification-routes?event=certificate.issued&severity=critical")

        told = "Operators by the route Everything from warning on"
        assert "certificate.revoked, severity warning: these are told." in words(loud)
        assert told in words(loud)
        assert "nobody is told, and no notification is kept" in words(quiet)
        assert told in words(louder)

    def test_an_issuer_among_many_is_found(self, core: Core) -> None:
        for number in range(201):
            body = {"name": f"Profile {number:03}", "id": f"prof-{number:03}"}
            core.call("profiles.create", body=body)
        reader = Reader(core)
        assert "Only the first 200 are shown" in words(reader.open("/ui/notification-routes/new"))

        answer = reader.post(
            "/ui/notification-routes/new", name="x", profile_ids="prof-007", find="profile_ids",
            **{"find[profile_ids]": "Profile 150"},
        )  # fmt: skip

        assert answer.status_code == 200
        assert re.findall(r'name="profile_ids" value="([^"]+)"', answer.text) == [
            "prof-007",
            "prof-150",
        ]
        assert core.call("notification_routes.list").total == 1
