"""Logs: one line per event on stderr, JSON or text, redacted (spec 08 §9, LOG-1 to LOG-4).

Rooms write ``structlog.get_logger("certctl.<room>")`` and nothing else; a process that owns its
stderr calls ``configure`` once. A library embedded elsewhere leaves that to its host.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, TextIO, cast

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, get_contextvars
from structlog.typing import EventDict, WrappedLogger
from typing_extensions import override

from certctl_core.kernel.clock import Clock, SystemClock
from certctl_core.kernel.secrets import redact, redact_text

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_METHODS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_SHOWN_LEVELS = {"warning": "warn", "critical": "error"}
_CONTEXT = ("request_id", "actor_id")
_HEAD = ("ts", "level", "msg", "logger", *_CONTEXT)
_NO_MESSAGE = '"msg":""'
_SPECIAL = frozenset({"ts", "level", "msg", "logger", "exc_info"})
_MAX_PLAIN = 256
# Text that no redaction pattern can match: see is_plain. A test holds it against the patterns.
_SIMPLE = re.compile(rf"[A-Za-z0-9_.:/{{}}+-]{{0,{_MAX_PLAIN}}}")
_MARKS = ("eyJ", "ctl_", "cca_", "whsec_", "-----")
_PLAIN = frozenset({int, float, bool, type(None)})
_MARKED = re.compile("|".join(_MARKS))
MAX_LINE_CHARS = 32_768
"""A longer line is cut: a log collector would, and the rest of the process must not wait for it."""


class LogHandle(Protocol):
    """What ``configure`` gives back."""

    def set_level(self, level: str) -> None:
        """Change the level of all loggers at once (``debug info warn error``)."""
        ...


def configure(
    *,
    level: str,
    form: str,
    clock: Clock,
    stream: TextIO | None = None,
) -> LogHandle:
    """Send every log line of this process, those of libraries included, to one place.

    Args:
        level: The least important level that is written: ``debug info warn error``.
        form: ``json`` or ``text``.
        clock: For the time stamps.
        stream: Where to; stderr (whatever it is at that moment) when None.

    Returns:
        A handle to change the level later (reload of the settings).

    Raises:
        ValueError: An unknown level or format.
    """
    _PIPELINE.set_up(level=level, form=form, clock=clock, stream=stream)
    structlog.configure(
        processors=[_PIPELINE],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=_PIPELINE.logger,
        # Safe, because there is only one pipeline: loggers that were cached follow its changes.
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _StdlibHandler) for handler in root.handlers):
        root.addHandler(_StdlibHandler())
    return _PIPELINE


@contextmanager
def request_context(*, request_id: str, actor_id: str | None = None) -> Iterator[None]:
    """Put the request, and who asks, on every line that is written inside."""
    fields = {"request_id": request_id}
    if actor_id is not None:
        fields["actor_id"] = actor_id
    with bound_contextvars(**fields):
        yield


def set_actor(actor_id: str) -> None:
    """Put the actor on the lines of the current request, once it is known."""
    bind_contextvars(actor_id=actor_id)


class _Named:
    """A logger as the pipeline sees it: a name, and where the finished line goes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, line: str) -> None:
        """Take the line that the pipeline made; all levels go one way."""
        _PIPELINE.write(line)

    debug = info = warning = error = critical = write


class _Pipeline:
    """From an event to a line. There is one per process, as there is one stderr."""

    def __init__(self) -> None:
        self._render: Callable[[dict[str, Any]], str] = _json_line
        self._clock: Clock = SystemClock()
        self._stream: TextIO | None = None
        self._threshold = _LEVELS["info"]

    def set_up(self, *, level: str, form: str, clock: Clock, stream: TextIO | None) -> None:
        if form not in _FORMATS:
            message = f"{form!r} is no log format"
            raise ValueError(message)
        self.set_level(level)
        self._render = _FORMATS[form]
        self._clock = clock
        self._stream = stream

    def set_level(self, level: str) -> None:
        if level not in _LEVELS:
            message = f"{level!r} is no log level"
            raise ValueError(message)
        self._threshold = _LEVELS[level]
        logging.getLogger().setLevel(self._threshold)

    def logger(self, *args: object) -> _Named:
        return _Named(str(args[0]) if args else "certctl")

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        if _METHODS.get(method, _LEVELS["error"]) < self._threshold:
            raise structlog.DropEvent
        return self.line(getattr(logger, "name", "certctl"), method, event)

    def line(self, name: str, method: str, event: MutableMapping[str, Any]) -> str:
        fields = {**get_contextvars(), **event}
        if self._render is _json_line:
            quick = _quick_line(self._moment(), _SHOWN_LEVELS.get(method, method), name, fields)
            if quick is not None:
                return quick
        message = str(fields.pop("event", ""))
        _with_exception(fields)
        shown = _redacted(fields)
        ordered: dict[str, Any] = {
            "ts": self._moment(),
            "level": _SHOWN_LEVELS.get(method, method),
            "msg": message if is_plain(message) else redact_text(message),
            "logger": name,
        }
        for key in _CONTEXT:
            if key in shown:
                ordered[key] = shown.pop(key)
        for key, value in shown.items():
            # What a field is called must not hide the head of the line.
            ordered[f"{key}_" if key in ordered else key] = value
        return self._render(ordered)

    def _moment(self) -> str:
        return self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def write(self, line: str) -> None:
        stream = self._stream or sys.stderr
        try:
            # One call per line: lines of several threads must not run into each other.
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # A log that cannot be written must not take the request down with it.
            return


def is_plain(value: object) -> bool:
    """Whether a value can be shown without looking closer: most of what is logged.

    True only for numbers and for text without blanks, ``@`` and ``=`` that holds no token of a known
    form; redaction would leave all of these as they are.
    """
    if type(value) is str:
        return _SIMPLE.fullmatch(value) is not None and _MARKED.search(value) is None
    if type(value) in _PLAIN:
        return True
    if isinstance(value, str):
        return _SIMPLE.fullmatch(value) is not None and _MARKED.search(value) is None
    return value is None or isinstance(value, bool | int | float)


@lru_cache(maxsize=2048)
def _is_plain_key(key: str) -> bool:
    """Whether the name of a field alone gives no reason to redact it."""
    return not redact({key: "x y z"})[1]


def _redacted(fields: dict[str, Any]) -> dict[str, Any]:
    rest = {
        key: value
        for key, value in fields.items()
        if not (is_plain(value) and _is_plain_key(str(key)))
    }
    if not rest:
        return fields
    found, _ = redact(rest)
    return {**fields, **cast("dict[str, Any]", found)}


class _StdlibHandler(logging.Handler):
    """Takes what libraries log through the standard library into the same lines."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            method = record.levelname.lower()
            event = {"event": record.getMessage(), "exc_info": record.exc_info}
            method = method if method in _METHODS else "info"
            _PIPELINE.write(_PIPELINE.line(record.name, method, event))
        except Exception:  # noqa: BLE001 - a library's broken log call must not break its caller
            self.handleError(record)


def _with_exception(fields: MutableMapping[str, Any]) -> None:
    info = fields.pop("exc_info", None)
    if not info:
        return
    if isinstance(info, BaseException):
        error: BaseException | None = info
    elif isinstance(info, tuple):
        error = info[1]
    else:
        error = sys.exc_info()[1]
    if error is not None:
        fields["exception"] = "".join(traceback.format_exception(error)).rstrip()


def _json_line(fields: dict[str, Any]) -> str:
    # ASCII only: control, bidi and zero-width characters of client input come out as \uXXXX.
    line = json.dumps(fields, separators=(",", ":"))
    if len(line) <= MAX_LINE_CHARS:
        return line
    head = {key: fields[key] for key in _HEAD if key in fields}
    room = MAX_LINE_CHARS // 2
    head["msg"] = str(head["msg"])[:1000]
    return json.dumps({**head, "cut": line[:room]}, separators=(",", ":"))


def _quick_line(ts: str, level: str, name: str, fields: dict[str, Any]) -> str | None:
    """The JSON line of fields that need no closer look, as most do; None where one does."""
    if type(fields.get("event", "")) is not str:
        return None
    words: dict[str, str] = {}
    texts = [name]
    for key, value in fields.items():
        begin = _quick_key(key)
        if begin is None:
            return None
        kind = type(value)
        if kind is str:
            texts.append(value)
            words[key] = f'{begin}"{value}"'
        elif kind is int:
            words[key] = f"{begin}{value}"
        elif kind is float or kind is bool or value is None:
            words[key] = begin + json.dumps(value)
        else:
            return None
    # All texts are looked at together; what joins them begins no token.
    joined = "+".join(texts)
    if len(joined) > _MAX_PLAIN or not _SIMPLE.fullmatch(joined) or _MARKED.search(joined):
        return None
    begin = f'{{"ts":"{ts}","level":"{level}",{words.pop("event", _NO_MESSAGE)},"logger":"{name}"'
    head = [words.pop(key) for key in _CONTEXT if key in words]
    return ",".join((begin, *head, *words.values())) + "}"


@lru_cache(maxsize=2048)
def _quick_key(key: str) -> str | None:
    """How a field begins; None where its name alone asks for a closer look."""
    if key == "event":
        return '"msg":'
    is_usual = key.isidentifier() and key.isascii() and key not in _SPECIAL
    return f'"{key}":' if is_usual and _is_plain_key(key) else None


def _text_line(fields: dict[str, Any]) -> str:
    exception = fields.pop("exception", None)
    head = f"{fields.pop('ts')} {fields.pop('level').upper():5} {fields.pop('logger')}: "
    line = head + _plain(fields.pop("msg"))
    for key, value in fields.items():
        line += f" {_plain(key)}={_plain(value)}"
    line = line[:MAX_LINE_CHARS]
    if exception:
        shown = (_plain(part, quote=False) for part in str(exception).splitlines())
        line += "".join(f"\n    {part}" for part in shown)
    return line


def _plain(value: object, *, quote: bool = True) -> str:
    """One line of visible characters; quoted where blanks or escapes would mislead."""
    text = value if isinstance(value, str) else json.dumps(value)
    if text.isascii() and text.isprintable():
        return json.dumps(text) if quote and isinstance(value, str) and "=" in text else text
    escaped = json.dumps(text)
    return escaped if quote else escaped[1:-1].replace('\\"', '"')


_FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {"json": _json_line, "text": _text_line}
_PIPELINE = _Pipeline()
