"""Log lines and metrics, as a log collector and a scraper see them (08 LOG-1 to LOG-4, MET)."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from certctl_core.kernel.observability import (
    Merge,
    MetricRegistry,
    MetricsExport,
    Reading,
    configure,
    counter,
    gauge,
    histogram,
    request_context,
    set_actor,
)
from certctl_core.kernel.observability.exposition import clear
from certctl_core.kernel.observability.logs import MAX_LINE_CHARS, is_plain
from certctl_core.kernel.observability.metrics import MAX_SERIES
from certctl_core.kernel.secrets import Secret, redact_text
from tests.machine import PATIENCE_SECONDS


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield root
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Log:
    def __init__(self, clock, form, level):
        self.stream = io.StringIO()
        self.handle = configure(level=level, form=form, clock=clock, stream=self.stream)
        self.logger = structlog.get_logger("certctl.test")

    @property
    def text(self):
        return self.stream.getvalue()

    @property
    def lines(self):
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log(clock, root_logger):
    return Log(clock, "json", "info")


@pytest.fixture
def text_log(clock, root_logger):
    return Log(clock, "text", "info")


class TestLines:
    @pytest.mark.spec("08/LOG-1")
    def test_line_has_the_fields_of_the_contract(self, log):
        with request_context(request_id="req-1", actor_id="ak-1"):
            log.logger.info("http.request", status=200, path="/x", duration_ms=1.5)
        assert log.lines == [
            {
                "ts": "2026-01-15T12:00:00.000Z",
                "level": "info",
                "msg": "http.request",
                "logger": "certctl.test",
                "request_id": "req-1",
                "actor_id": "ak-1",
                "status": 200,
                "path": "/x",
                "duration_ms": 1.5,
            }
        ]
        assert list(log.lines[0])[:6] == ["ts", "level", "msg", "logger", "request_id", "actor_id"]

    def test_actor_appears_once_it_is_known_and_goes_with_the_request(self, log):
        with request_context(request_id="req-1"):
            log.logger.info("a")
            set_actor("ak-1")
            log.logger.info("b")
        structlog.contextvars.clear_contextvars()
        with request_context(request_id="req-2"):
            log.logger.info("c")
        found = [(line["request_id"], line.get("actor_id")) for line in log.lines]
        assert found == [("req-1", None), ("req-1", "ak-1"), ("req-2", None)]

    @pytest.mark.parametrize(
        ("level", "written"),
        [
            ("debug", ["debug", "info", "warn", "error", "error"]),
            ("info", ["info", "warn", "error", "error"]),
            ("warn", ["warn", "error", "error"]),
            ("error", ["error", "error"]),
        ],
    )
    def test_level_is_what_is_written_at_least(self, log, level, written):
        log.handle.set_level(level)
        for method in ("debug", "info", "warning", "error", "critical"):
            getattr(log.logger, method)("x")
        assert [line["level"] for line in log.lines] == written

    def test_loggers_that_exist_follow_a_new_set_up(self, log, clock):
        log.logger.info("a")
        other = io.StringIO()
        configure(level="info", form="text", clock=clock, stream=other)
        log.logger.info("b")
        assert len(log.lines) == 1
        assert other.getvalue() == "2026-01-15T12:00:00.000Z INFO  certctl.test: b\n"

    @pytest.mark.parametrize("bad", [{"level": "loud"}, {"form": "xml"}])
    def test_unknown_words_are_refused(self, clock, root_logger, bad):
        with pytest.raises(ValueError, match="is no log"):
            configure(**{"level": "info", "form": "json", **bad}, clock=clock)

    def test_default_is_stderr(self, clock, root_logger, capsys):
        configure(level="info", form="json", clock=clock)
        structlog.get_logger("certctl.test").info("x")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert json.loads(captured.err)["msg"] == "x"

    def test_broken_stream_harms_nobody(self, clock, root_logger):
        stream = io.StringIO()
        stream.close()
        configure(level="info", form="json", clock=clock, stream=stream)
        structlog.get_logger("certctl.test").info("x")

    def test_fields_cannot_pose_as_the_head(self, log):
        log.logger.info("real", level="debug", ts="1970", msg="fake", logger="x")
        [line] = log.lines
        assert (line["level"], line["msg"], line["logger"]) == ("info", "real", "certctl.test")
        assert line["level_"] == "debug"

    def test_values_of_any_kind_are_written(self, log):
        log.logger.info("x", a=timedelta(seconds=1), b={"k": [1, None]}, c=object(), d={1, 2})
        assert log.lines[0]["b"] == {"k": [1, None]}

    def test_exceptions_come_with_their_trace(self, log):
        try:
            {"a": 1}["lost"]
        except KeyError:
            log.logger.exception("failed")
        [line] = log.lines
        assert line["level"] == "error"
        assert line["exception"].startswith("Traceback")
        assert line["exception"].endswith("KeyError: 'lost'")

    def test_endless_lines_are_cut_and_stay_json(self, log):
        log.logger.info("x", blob="y" * 100_000)
        assert len(log.text) <= MAX_LINE_CHARS
        assert log.lines[0]["cut"].endswith("yyy")

    def test_libraries_end_up_in_the_same_lines(self, log):
        logging.getLogger("some.library").warning("it %s", "works")
        logging.getLogger("some.library").debug("quiet")
        [line] = log.lines
        assert (line["level"], line["logger"], line["msg"]) == ("warn", "some.library", "it works")

    def test_threads_do_not_tear_lines(self, log):
        def work():
            for _ in range(200):
                log.logger.info("x", value="y" * 50)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(log.lines) == 800


CANARY = "canary5d1c8a0b5d7e2946f0a1b2c3d4e5f607"


class TestRedaction:
    @pytest.mark.spec("08/LOG-2")
    @pytest.mark.parametrize(
        "fields",
        [
            {"password": CANARY},
            {"API-Key": CANARY},
            {"nested": {"list": [{"client_secret": CANARY}]}},
            {"header": f"Bearer {CANARY}"},
            {"url": f"https://user:{CANARY}@example.com/x"},
            {"url": f"https://example.com/x?token={CANARY}"},
            {"note": f"key ctl_abcd_{CANARY} was used"},
            {"plain": f"ctl_abcd_{CANARY}"},
            {"plain": f"eyJhbGciOiJ.{CANARY}.x"},
            {"held": Secret(CANARY)},
            {"email": CANARY},
        ],
    )
    def test_secrets_never_reach_the_stream(self, log, fields):
        log.logger.info("x", **fields)
        assert CANARY not in log.text
        assert len(log.lines) == 1

    @pytest.mark.spec("08/LOG-2")
    def test_messages_and_traces_are_redacted_too(self, log):
        leaking = f"https://u:{CANARY}@example.com"
        error = ValueError(f"Authorization: Bearer {CANARY}")
        log.logger.error(leaking, exc_info=error)
        logging.getLogger("x").error("Bearer %s", CANARY)
        assert CANARY not in log.text
        assert len(log.lines) == 2

    @pytest.mark.spec("08/LOG-3")
    def test_identity_of_certificates_stays(self, log):
        log.logger.info("x", fingerprint="ab:cd", serial="0a1b", subject="CN=web.example.test")
        assert log.lines[0]["fingerprint"] == "ab:cd"
        assert log.lines[0]["subject"] == "CN=web.example.test"

    pieces = st.sampled_from(
        [
            "Bearer ",
            "bearer:",
            "Basic",
            "eyJ",
            "ctl_abcd_",
            "cca_",
            "whsec_",
            "aaaaaaaaaaaaaaaaaaaa",
            ".",
            "/",
            "https://",
            "u:p@",
            "?token=",
            "&code=",
            "-----BEGIN PRIVATE KEY-----",
            "_",
            "-",
            " ",
        ]
    )

    @given(st.lists(pieces | st.text(max_size=8), max_size=8).map("".join))
    def test_nothing_is_waved_through_that_redaction_would_change(self, text):
        if is_plain(text):
            assert redact_text(text) == text


class TestPlainLines:
    """Most lines need neither redaction nor escapes; they are written by a shorter way."""

    values = (
        st.sampled_from(["GET", "/api/v1/certificates", "ak-1", "", "ctl_abcd_", "eyJ", "a b", "ä"])
        | st.integers()
        | st.floats()
        | st.booleans()
        | st.none()
        | st.text(max_size=12)
        | st.lists(st.integers(), max_size=2)
    )
    names = st.sampled_from(["status", "path", "api_key", "actor_id", "request_id", "n", "level"])

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(["http.request", "", "two words"]), st.dictionaries(names, values))
    def test_they_read_as_all_others_do(self, log, message, fields):
        log.stream.truncate(log.stream.seek(0))
        log.logger.info(message, **fields)
        log.logger.info(message, **fields, rest="x y")
        short, long = log.text.splitlines()
        assert long.replace(',"rest":"x y"}', "}") == short


INJECTION = 'a\nts=1970 level=fake\r\x1b[31m\x00\u202egnp\u2028end"'


class TestInjection:
    @pytest.mark.spec("08/LOG-4")
    def test_json_line_is_one_line_of_ascii(self, log):
        log.logger.info(INJECTION, agent=INJECTION)
        assert log.text.isascii()
        assert log.text.rstrip("\n").isprintable()
        assert log.lines[0]["msg"] == INJECTION

    @pytest.mark.spec("08/LOG-4")
    def test_text_line_is_one_line_of_ascii(self, text_log):
        text_log.logger.info(INJECTION, agent=INJECTION, plain="x y", number=1)
        assert text_log.text.count("\n") == 1
        assert text_log.text.rstrip("\n").isascii()
        assert text_log.text.rstrip("\n").isprintable()
        assert text_log.text.endswith("plain=x y number=1\n")

    def test_text_traces_are_indented_and_escaped(self, text_log):
        text_log.logger.error("failed", exc_info=ValueError(INJECTION))
        lines = text_log.text.splitlines()
        assert lines[0].endswith("failed")
        assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])

    @given(st.text(), st.text())
    def test_any_text_stays_on_its_line(self, message, value):
        from certctl_core.kernel.observability.logs import _text_line

        line = _text_line({"ts": "t", "level": "info", "logger": "l", "msg": message, "key": value})
        assert line.isprintable()


@pytest.fixture
def registry():
    return MetricRegistry()


@pytest.fixture
def export(clock, registry):
    return MetricsExport(clock=clock, registry=registry)


def samples(export, accept=""):
    content_type, body = export.render(accept)
    read = parse_openmetrics if "openmetrics" in content_type else parse
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in read(body.decode())
        for sample in family.samples
    }


class TestMetrics:
    def test_counter(self, registry, export):
        done = counter("certctl_done_total", "Things done.", ("result",), registry=registry)
        done.labels("ok").inc()
        done.labels("ok").inc(2)
        done.labels("failed").inc()
        assert samples(export) == {
            ("certctl_done_total", ("result", "ok")): 3,
            ("certctl_done_total", ("result", "failed")): 1,
        }
        assert done.value("ok") == 3
        assert done.value("never") == 0
        with pytest.raises(ValueError, match="never falls"):
            done.labels("ok").inc(-1)

    def test_metric_without_labels_is_there_from_the_start(self, registry, export):
        done = counter("certctl_done_total", "Things done.", registry=registry)
        assert samples(export) == {("certctl_done_total",): 0}
        done.inc()
        assert samples(export) == {("certctl_done_total",): 1}

    def test_gauge(self, registry, export):
        size = gauge("certctl_pool_size", "Connections.", registry=registry)
        size.set(5)
        size.inc()
        size.dec(2)
        assert samples(export) == {("certctl_pool_size",): 4}
        by_loop = gauge("certctl_lease_held", "Leases.", ("loop",), registry=registry)
        by_loop.labels("crl").set(1)
        by_loop.remove("crl")
        assert ("certctl_lease_held", ("loop", "crl")) not in samples(export)

    def test_histogram(self, registry, export):
        took = histogram(
            "certctl_took_seconds", "Time.", ("op",), buckets=(0.1, 1), registry=registry
        )
        for value in (0.05, 0.1, 0.5, 7):
            took.labels("sign").observe(value)
        found = samples(export)
        assert found["certctl_took_seconds_bucket", ("le", "0.1"), ("op", "sign")] == 2
        assert found["certctl_took_seconds_bucket", ("le", "1.0"), ("op", "sign")] == 3
        assert found["certctl_took_seconds_bucket", ("le", "+Inf"), ("op", "sign")] == 4
        assert found["certctl_took_seconds_count", ("op", "sign")] == 4
        assert found["certctl_took_seconds_sum", ("op", "sign")] == pytest.approx(7.65)
        assert took.value("sign") == 4

    def test_openmetrics_where_the_scraper_asks_for_it(self, registry, export):
        counter("certctl_done_total", "Things done.", registry=registry).inc()
        histogram("certctl_took_seconds", "Time.", registry=registry).observe(1)
        content_type, body = export.render("application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")
        assert samples(export, "application/openmetrics-text; version=1.0.0")
        assert export.render("")[0].startswith("text/plain; version=")

    def test_same_declaration_gives_the_same_metric(self, registry):
        one = counter("certctl_done_total", "Things done.", ("a",), registry=registry)
        assert counter("certctl_done_total", "Things done.", ("a",), registry=registry) is one
        with pytest.raises(ValueError, match="declared twice"):
            counter("certctl_done_total", "Things done.", ("b",), registry=registry)

    @pytest.mark.parametrize(
        "name", ["done_total", "certctl_done", "certctl_Done_total", "certctl__total"]
    )
    def test_counter_names_follow_the_rule(self, registry, name):
        with pytest.raises(ValueError, match="certctl_"):
            counter(name, "x", registry=registry)

    def test_gauges_do_not_pose_as_counters(self, registry):
        with pytest.raises(ValueError, match="_total"):
            gauge("certctl_done_total", "x", registry=registry)

    def test_wrong_number_of_labels(self, registry):
        with pytest.raises(ValueError, match="2 labels"):
            counter("certctl_x_total", "x", ("a", "b"), registry=registry).labels("1")

    def test_endless_labels_are_gathered(self, registry):
        many = counter("certctl_many_total", "x", ("id",), registry=registry)
        for number in range(MAX_SERIES + 50):
            many.labels(str(number)).inc()
        assert many.value("other") == 50

    def test_threads_lose_no_count(self, registry):
        done = counter("certctl_done_total", "x", registry=registry)

        def work():
            for _ in range(5000):
                done.inc()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done.value() == 20_000

    @pytest.mark.spec("08/A-14")
    def test_readers_are_asked_at_most_every_ten_seconds(self, export, clock):
        asked = []

        def read():
            asked.append(1)
            for status, count in (("Active", 3.0), ("Expired", 1.0)):
                yield Reading(
                    name="certctl_certificates",
                    documentation="By status.",
                    value=count,
                    labels={"status": status},
                )

        export.add_reader(read)
        for _ in range(3):
            assert samples(export)["certctl_certificates", ("status", "Active")] == 3
        assert len(asked) == 1
        clock.advance(timedelta(seconds=10))
        samples(export)
        assert len(asked) == 2

    def test_snapshot_has_the_same_numbers(self, registry, export):
        counter("certctl_done_total", "x", ("a",), registry=registry).labels("b").inc()
        [series] = export.snapshot()
        assert (series.name, series.labels, series.value) == (
            "certctl_done_total",
            (("a", "b"),),
            1,
        )


CHILD = """
import sys
from pathlib import Path
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.observability import *
registry = MetricRegistry()
counter("certctl_done_total", "x", ("r",), registry=registry).labels("ok").inc(int(sys.argv[2]))
histogram("certctl_took_seconds", "x", buckets=(1, 2), registry=registry).observe(1.5)
gauge("certctl_busy_threads", "x", merge=Merge.SUM, registry=registry).set(int(sys.argv[2]))
gauge("certctl_oldest_seconds", "x", merge=Merge.MAX, registry=registry).set(int(sys.argv[2]))
export = MetricsExport(clock=SystemClock(), directory=Path(sys.argv[1]), registry=registry)
export.flush()
print("ready", flush=True)
sys.stdin.readline()
export.close()
"""


class TestSeveralProcesses:
    @pytest.fixture
    def children(self, tmp_path):
        started = []

        def start(number):
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(tmp_path), str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(child)
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            return child

        yield start
        for child in started:
            if child.returncode is None:
                child.communicate("\n", timeout=PATIENCE_SECONDS)

    @pytest.fixture
    def shared(self, tmp_path, clock, registry):
        counter("certctl_done_total", "x", ("r",), registry=registry).labels("ok").inc()
        histogram("certctl_took_seconds", "x", buckets=(1, 2), registry=registry).observe(9)
        gauge("certctl_busy_threads", "x", merge=Merge.SUM, registry=registry).set(1)
        gauge("certctl_oldest_seconds", "x", merge=Merge.MAX, registry=registry).set(1)
        export = MetricsExport(clock=clock, directory=tmp_path, registry=registry)
        yield export
        export.close()

    def test_scrape_of_one_shows_all(self, children, shared):
        first, _ = children(10), children(20)
        found = samples(shared)
        assert found["certctl_done_total", ("r", "ok")] == 31
        assert found["certctl_busy_threads",] == 31
        assert found["certctl_oldest_seconds",] == 20
        assert found["certctl_took_seconds_bucket", ("le", "2.0")] == 2
        assert found["certctl_took_seconds_count",] == 3
        first.communicate("\n", timeout=PATIENCE_SECONDS)
        ended = samples(shared)
        assert ended["certctl_done_total", ("r", "ok")] == 31
        assert ended["certctl_busy_threads",] == 21

    def test_background_flush(self, tmp_path, clock, registry):
        done = counter("certctl_done_total", "x", registry=registry)
        writer = MetricsExport(clock=clock, directory=tmp_path, registry=registry)
        reader = MetricsExport(clock=clock, directory=tmp_path, registry=MetricRegistry())
        writer.start()
        done.inc()
        writer.close()
        assert samples(reader) == {("certctl_done_total",): 1}
        reader.close()

    def test_start_forgets_the_run_before(self, shared, tmp_path):
        shared.flush()
        assert list(tmp_path.glob("*.db"))
        clear(tmp_path)
        assert not list(tmp_path.glob("*.db"))

    def test_directory_is_made_for_us_alone(self, clock, tmp_path):
        registry = MetricRegistry()
        counter("certctl_done_total", "x", registry=registry)
        export = MetricsExport(clock=clock, directory=tmp_path / "metrics", registry=registry)
        export.flush()
        assert (tmp_path / "metrics").stat().st_mode & 0o777 == 0o700
        export.close()
