"""Failures on their way out: one text for people, one document for programs, one exit code."""

from __future__ import annotations

import json
import sys
import traceback
from enum import IntEnum

import click

from certctl_core.kernel.errors import CertctlError, ErrorKind


class Exit(IntEnum):
    """How a client command ends. Commands that run a server have codes of their own."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    FORBIDDEN = 4
    TIMEOUT = 5
    INTERRUPTED = 130


EXIT_HELP = {
    Exit.OK: "done",
    Exit.FAILED: "the server refused, or it failed",
    Exit.USAGE: "the command line or a file it names is not usable",
    Exit.NOT_FOUND: "there is no such object",
    Exit.FORBIDDEN: "no valid API key, or not allowed",
    Exit.TIMEOUT: "no answer in time, or not finished in time",
    Exit.INTERRUPTED: "interrupted",
}

_KINDS: dict[ErrorKind, Exit] = {
    ErrorKind.INVALID: Exit.FAILED,
    ErrorKind.UNAUTHENTICATED: Exit.FORBIDDEN,
    ErrorKind.FORBIDDEN: Exit.FORBIDDEN,
    ErrorKind.NOT_FOUND: Exit.NOT_FOUND,
    ErrorKind.METHOD_NOT_ALLOWED: Exit.FAILED,
    ErrorKind.CONFLICT: Exit.FAILED,
    ErrorKind.GONE: Exit.NOT_FOUND,
    ErrorKind.PRECONDITION: Exit.FAILED,
    ErrorKind.PAYLOAD_TOO_LARGE: Exit.FAILED,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: Exit.FAILED,
    ErrorKind.UNPROCESSABLE: Exit.FAILED,
    ErrorKind.RATE_LIMITED: Exit.FAILED,
    ErrorKind.NOT_SUPPORTED: Exit.FAILED,
    ErrorKind.UNAVAILABLE: Exit.FAILED,
    ErrorKind.INTERNAL: Exit.FAILED,
}
_NO_KEY_HINT = (
    "Check --api-key-file, CERTCTL_API_KEY or the client.toml of --data-dir;"
    " on the server, 'certctl admin create-key' makes a new key."
)
_LOCAL_USAGE = frozenset({"bad_server_url", "ca_bundle_unusable", "client_file_unusable"})


class Failed(CertctlError):
    """A command could not do what it was asked to, for a reason of its own."""

    code = "command_failed"
    text = "{reason}"


class FileExists(CertctlError):
    """A file stands where a new one would go."""

    code = "file_exists"
    text = "{path} exists already."
    hint = "Choose another --out, or give --force to replace it."


class NotWritable(CertctlError):
    """A file or a directory cannot be written."""

    code = "not_writable"
    text = "{path} cannot be written: {reason}."


class WaitedTooLong(CertctlError):
    """Something went on for longer than the command was to wait."""

    code = "waited_too_long"
    text = "The job {job_id} has not finished within {seconds} s; it goes on."
    hint = "'certctl jobs show' with this id tells what became of it."


def exit_code(error: CertctlError) -> Exit:
    """The exit code of a failure: the one place that knows (STYLE: one mapping per wire)."""
    if error.code in {"server_timeout", "waited_too_long"}:
        return Exit.TIMEOUT
    if error.code in _LOCAL_USAGE:
        return Exit.USAGE
    return _KINDS[error.kind]


def report(error: CertctlError, *, is_json: bool, is_verbose: bool) -> Exit:
    """Tell about a failure on stderr: cause, object, what to do next. Returns the exit code."""
    request_id = getattr(error, "request_id", "")
    # The server's own words are for those who write the header themselves.
    hint = _NO_KEY_HINT if error.kind is ErrorKind.UNAUTHENTICATED else error.hint
    if is_json:
        document: dict[str, object] = {"code": error.code, "detail": error.detail}
        if hint:
            document["hint"] = hint
        if error.fields:
            document["fields"] = [{"field": f.field, "message": f.message} for f in error.fields]
        if request_id:
            document |= {"status": getattr(error, "status", 0), "request_id": request_id}
        document |= getattr(error, "extra", {})
        say(json.dumps({"error": document}, indent=2, ensure_ascii=False))
    else:
        say(f"certctl: {error.detail}")
        for item in error.fields:
            say(f"  {item.field}: {item.message}")
        for name, value in getattr(error, "extra", {}).items():
            say(f"  {name}: {value if isinstance(value, str) else json.dumps(value)}")
        if hint:
            say(f"  hint: {hint}")
        if request_id and (is_verbose or error.kind is ErrorKind.INTERNAL):
            say(f"  request: {request_id} (the server's log has more)")
    if is_verbose:
        traceback.print_exception(error)
    return exit_code(error)


def report_usage(error: click.ClickException) -> int:
    """Tell about a command line that makes no sense."""
    context = getattr(error, "ctx", None)
    say(f"certctl: {error.format_message()}")
    if context is not None:
        say(f"  hint: {context.command_path} --help")
    return Exit.USAGE if isinstance(error, click.UsageError) else Exit.FAILED


def report_crash(error: Exception, *, is_verbose: bool) -> Exit:
    """Tell about a failure that nobody foresaw."""
    say(f"certctl: an unforeseen failure: {type(error).__name__}: {error}")
    if is_verbose:
        traceback.print_exception(error)
    else:
        say("  hint: run it again with --verbose and report what it prints")
    return Exit.FAILED


def say(text: str) -> None:
    """One line for the person, beside the answer."""
    print(text, file=sys.stderr)
