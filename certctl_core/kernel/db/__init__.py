"""The database room: engines with their own BEGIN, the unit of work, paging, leases, change feed.

Any SQL that runs on one engine only sits in here behind one function with two branches.
"""

from certctl_core.kernel.db._tables import idempotency_keys, instance
from certctl_core.kernel.db.base import metadata, naming_convention
from certctl_core.kernel.db.columns import JSONDocument, UTCDateTime, day_of
from certctl_core.kernel.db.engine import Database
from certctl_core.kernel.db.errors import DatabaseBusy, DatabaseUnavailable, WriteInReadTransaction
from certctl_core.kernel.db.feed import ChangeFeed
from certctl_core.kernel.db.groups import Group
from certctl_core.kernel.db.leases import Lease, Leases
from certctl_core.kernel.db.listing import JSONRows, Listing, counted, recipe
from certctl_core.kernel.db.paging import paginate, parse_sort
from certctl_core.kernel.db.remembered import Remembered
from certctl_core.kernel.db.rows import RowView
from certctl_core.kernel.db.uow import UnitOfWorkFactory, Uow

__all__ = [
    "ChangeFeed",
    "Database",
    "DatabaseBusy",
    "DatabaseUnavailable",
    "Group",
    "JSONDocument",
    "JSONRows",
    "Lease",
    "Leases",
    "Listing",
    "Remembered",
    "RowView",
    "UTCDateTime",
    "UnitOfWorkFactory",
    "Uow",
    "WriteInReadTransaction",
    "counted",
    "day_of",
    "idempotency_keys",
    "instance",
    "metadata",
    "naming_convention",
    "paginate",
    "parse_sort",
    "recipe",
]
