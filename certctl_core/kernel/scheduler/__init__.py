"""The scheduler: leased loops with jitter and budgets, run records, replicas and their heartbeat."""

from certctl_core.kernel.scheduler.engine import Scheduler
from certctl_core.kernel.scheduler.errors import LoopNotFound, LoopRunning
from certctl_core.kernel.scheduler.events import LoopRequested
from certctl_core.kernel.scheduler.service import SchedulerService
from certctl_core.kernel.scheduler.types import LoopRun, Replica, RunResult
from certctl_core.kernel.scheduler.workflow import Loop, LoopContext

__all__ = [
    "Loop",
    "LoopContext",
    "LoopNotFound",
    "LoopRequested",
    "LoopRun",
    "LoopRunning",
    "Replica",
    "RunResult",
    "Scheduler",
    "SchedulerService",
]
