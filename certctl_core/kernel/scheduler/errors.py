"""Failures of the scheduler."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Internal, NotFound


class LoopNotFound(NotFound):
    """No loop has this name."""

    code = "loop_not_found"
    text = "There is no loop {name}."
    hint = "'certctl admin loops' shows the loops."


class LoopRunning(Conflict):
    """The loop is running at this moment, here or on another replica."""

    code = "loop_running"
    text = "The loop {name} is running already."


class LoopNameTaken(Internal):
    """Two loops claim one name: a defect in the composition."""

    code = "loop_name_taken"
    text = "There is a loop {name} already."
