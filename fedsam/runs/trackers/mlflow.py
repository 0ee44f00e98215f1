"""MLflow: a run in a file store, or on a tracking server."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fedsam.runs.trackers.base import Begun, Ending, Tracker, Tracking

MOST = 100  # parameters that MLflow takes at once
STATUS: dict[Ending, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow(Tracker):
    """Numbers as metrics by round, the run's keys as parameters, its files as artefacts. The store is the folder
    `mlruns` beside the run directory, whatever MLFLOW_TRACKING_URI says, unless `track.online` is true.
    """

    library: ClassVar[str] = "mlflow"

    def started(self, begun: Begun) -> Tracking:
        """Begin a run of the experiment, or go on with it."""
        return _Run(self, begun)


class _Run(Tracking):
    def __init__(self, tracker: MLflow, begun: Begun) -> None:
        store: str | None = None
        if not tracker.online:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            store = tracker.place(begun, "mlruns", beside=True).absolute().as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow: Any = importlib.import_module("mlflow")
        self.client = mlflow.MlflowClient(tracking_uri=store)
        self.metric: Any = mlflow.entities.Metric
        known = begun.id_of("mlflow")
        if known is not None:
            self.id = known
            self.client.update_run(known, status="RUNNING")
            return
        experiment = self.client.get_experiment_by_name(tracker.project)
        number = experiment.experiment_id if experiment else self.client.create_experiment(tracker.project)
        tags = {"fedsam.group": begun.group, **{f"fedsam.{name}": str(value) for name, value in begun.about.items()}}
        self.id = str(self.client.create_run(number, run_name=begun.name, tags=tags).info.run_id)
        begun.keep_id("mlflow", self.id)
        parameters = [mlflow.entities.Param(name, str(value)) for name, value in begun.keys.items()]
        for begin in range(0, len(parameters), MOST):
            self.client.log_batch(self.id, params=parameters[begin : begin + MOST])

    def recorded(self, round: int, numbers: Mapping[str, float]) -> None:
        """One metric a number."""
        now = int(1000 * time.time())
        self.client.log_batch(
            self.id, metrics=[self.metric(name, value, now, round) for name, value in numbers.items()]
        )

    def finished(self, ending: Ending, files: Sequence[Path]) -> None:
        """Store the files, and say how it ended."""
        for file in files:
            self.client.log_artifact(self.id, str(file))
        self.client.set_terminated(self.id, STATUS[ending])
