"""`fedsam check`: a run is built, and a round of it trained for nothing."""

from __future__ import annotations

from fedsam.cli.options import Debug, Json, Keys, Trust
from fedsam.cli.settings import parse


def check(settings: Keys = None, trust: Trust = False, as_json: Json = False, debug: Debug = False) -> None:
    """Build everything of a run and train one round for nothing: data, model, engine, kernels, memory, traffic, time.

    One step is also trained in plain torch, on the model as its maker returns it; if loss or gradient differ by more
    than rounding, the exit status is 1. Nothing is written.

    For example: fedsam check model.name=my_models:net data.alpha=0.1 client.name=sam
    """
    from fedsam.run import Run

    run = Run.from_keys(parse(settings or []))
    from fedsam.check.command import report
    from fedsam.runs.progress import Progress

    with Progress(quiet=True):
        report(run, as_json)
