"""One trial: an ordinary run, whose recorded rounds are reported, those that are there already first."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from fedsam.errors import DivergedError
from fedsam.measure.names import loss_of, value_of
from fedsam.run import Run
from fedsam.runs.directory import RunDirectory
from fedsam.runs.records import Record
from fedsam.runs.result import Listener, Several
from fedsam.storage.files import damaged, on_disk, read_object, replace_file
from fedsam.sweeps.sweep import carry_out, is_done
from fedsam.tuning.ledger import Report, Trial
from fedsam.tuning.search.base import State

FILE = "trial.json"
Tell = Callable[[Report], None]


class _Reporter(Listener):
    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def recorded(self, record: Record) -> None:
        self._tell(report_of(record))


def report_of(record: Record) -> Report:
    """What a search is told of a recorded round."""
    seconds = record["seconds"] + record["eval_seconds"]
    return Report(record["round"], value_of(record), loss_of(record), seconds)


def follow(
    run: Run,
    tell: Tell,
    ended: dict[str, Any] | None = None,
    stop: threading.Event | None = None,
    beside: Sequence[Listener] = (),
) -> str:
    """Carry out a trial, from its beginning or from where it was left; what went wrong, if it diverged.

    Args:
        run: with its `out`.
        tell: told of each recorded round, also of those that an earlier process has recorded; to end the trial there,
            it raises what no one catches.
        ended: what `written` says of it: it is not trained again up to where it had ended.
        stop: once set, it is stopped after the round in progress.
        beside: listeners that are told first.

    Raises:
        InputError, RunError: anything else that goes wrong.
        Interrupted: `stop` was set.
    """
    for record in _recorded(run, ended):
        tell(report_of(record))
    if ended and ended["state"] == "failed":
        return str(ended["error"])
    try:
        carry_out(run, Several([*beside, _Reporter(tell)]), stop)
    except DivergedError as error:
        return " ".join(str(error).split())
    return ""


def _recorded(run: Run, ended: dict[str, Any] | None) -> list[Record]:
    """The records that stay: those after the last checkpoint would be recorded again."""
    path = Path(str(run.out))
    if not (path / "run.json").exists():
        return []
    done = is_done(run)  # says so if another run is there
    directory = RunDirectory.open(path)[0]
    manifest = directory.manifest()
    upto = max(manifest.round if manifest else 0, ended["round"] if ended else 0)
    return [record for record in directory.metrics() if done or record["round"] <= upto]


def write(trial: Trial, path: Path) -> None:
    """Write down in a trial's directory what it tried and what has come of it."""
    content = {"trial": trial.number, "values": trial.values, **trial.came.as_json()}
    with on_disk(path / FILE):
        path.mkdir(parents=True, exist_ok=True)
        replace_file(path / FILE, (json.dumps(content, allow_nan=False) + "\n").encode())


def written(path: Path) -> dict[str, Any] | None:
    """What `write` has written there, if anything.

    Raises:
        Damaged: it is not what was written.
    """
    file, cure = path / FILE, "remove it: the same command goes through the trial's records again"
    try:
        found = read_object(file, cure)
    except FileNotFoundError:
        return None
    if found.get("state") not in get_args(State) or type(found.get("round")) is not int or "error" not in found:
        raise damaged(file, "it describes no trial that has ended", cure)
    return found
