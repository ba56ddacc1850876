"""Failures of the database room."""

from __future__ import annotations

from certctl_core.kernel.errors import Internal, Invalid, Unavailable


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached or dropped the connection."""

    code = "database_unavailable"
    text = "The database is not reachable at the moment."
    hint = "Try again shortly; the operator sees the cause in the log."


class DatabaseBusy(Unavailable):
    """A lock or statement time-out ended the transaction; nothing was written."""

    code = "database_busy"
    text = "The database is busy; nothing was changed."
    hint = "Repeat the request."


class WriteInReadTransaction(Internal):
    """A read-only unit of work was asked to write or emit: a defect in the calling code."""

    code = "write_in_read_transaction"
    text = "A read-only transaction cannot write."


class BadCursor(Invalid):
    """The cursor is damaged or belongs to another filter or sort order."""

    code = "bad_cursor"
    text = "The cursor does not belong to this list, filter and sort order."
    hint = "Start again without a cursor."


class BadSort(Invalid):
    """The sort field is not offered by this list."""

    code = "bad_sort"
    text = "This list cannot be sorted by '{sort}'. It offers: {offered}."


class PageTooDeep(Invalid):
    """Offset paging beyond its limit (spec 01 API-09)."""

    code = "page_too_deep"
    text = "Pages end at row {limit}."
    hint = "Use page_size and cursor to walk the whole list."
