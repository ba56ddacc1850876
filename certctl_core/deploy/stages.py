"""Keeping the minutes: each stage timed, its end recorded, every exception turned into one of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from certctl_core.contracts.context import Logger
from certctl_core.deploy.errors import Cancelled, TransactionDefect, WriteFailed
from certctl_core.deploy.report import MAX_DETAIL, Stage, StageResult
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Redactor


class Minutes:
    """The stages of one deployment.

    Args:
        target_id: For the log.
        clock: For the durations.
        log: For defects.
        redactor: Knows the secrets in play.
        should_abort: Asked at the start of each stage.
        on_stage: Told each stage as it starts.
    """

    def __init__(
        self,
        *,
        target_id: str,
        clock: Clock,
        log: Logger,
        redactor: Redactor,
        should_abort: Callable[[], bool] | None,
        on_stage: Callable[[Stage], None] | None,
    ) -> None:
        self._target_id = target_id
        self._clock = clock
        self._log = log
        self._redactor = redactor
        self._should_abort = should_abort
        self._on_stage = on_stage
        self.current = Stage.PRECHECK
        self.results: list[StageResult] = []

    @contextlib.contextmanager
    def stage(self, stage: Stage, *, abortable: bool = True) -> Iterator[list[str]]:
        """Run a stage inside ``with``; what is appended to the list becomes its detail.

        Raises:
            Cancelled: ``should_abort`` said so.
            WriteFailed: For an ``OSError``.
            TransactionDefect: For any other exception that is not ours.
        """
        self.current = stage
        started = self._clock.monotonic()
        notes: list[str] = []
        ok = False
        try:
            self._announce(stage)
            if abortable:
                self._check_abort()
            yield notes
            ok = True
        except CertctlError as error:
            notes.append(error.detail)
            raise
        except OSError as error:
            notes.append(error.strerror or "the file system refuses")
            path = str(error.filename or "?")
            raise WriteFailed(path=path, reason=error.strerror or "?") from error
        except Exception as error:
            # The border of the transaction: whatever a target or we do wrong, the host is put back.
            notes.append(type(error).__name__)
            self._log_defect(stage, error)
            raise TransactionDefect(what=f"{type(error).__name__} in {stage.value}") from error
        finally:
            elapsed = self._clock.monotonic() - started
            detail = self._redactor.text("; ".join(notes))[:MAX_DETAIL]
            self.results.append(
                StageResult(name=stage.value, ok=ok, ms=round(elapsed * 1000), detail=detail)
            )

    def _announce(self, stage: Stage) -> None:
        if self._on_stage is None:
            return
        try:
            self._on_stage(stage)
        except Exception as error:  # noqa: BLE001 - a lost progress report must not undo the work
            name = type(error).__name__
            self._log.warning("deploy.progress_lost", target_id=self._target_id, error=name)

    def _check_abort(self) -> None:
        if self._should_abort is not None and self._should_abort():
            raise Cancelled

    def _log_defect(self, stage: Stage, error: Exception) -> None:
        text = self._redactor.text(str(error))[:MAX_DETAIL]
        self._log.error(
            "deploy.defect",
            target_id=self._target_id,
            stage=stage.value,
            error=type(error).__name__,
            text=text,
        )
