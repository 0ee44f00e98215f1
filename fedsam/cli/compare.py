"""`fedsam compare`: settings side by side."""

from __future__ import annotations

import json

from fedsam.cli.options import Debug, Json, Keys, Out, Quiet, Seeds, Trust
from fedsam.cli.settings import parse


def compare(
    settings: Keys = None,
    seeds: Seeds = 3,
    out: Out = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Settings side by side, on the same partitions and client draws: every combination of keys with several values.

    For example: fedsam compare client.name=sgd,sam,asam average.name=none,swa rounds=100

    Where no key has several values, FedAvg, FedSAM, FedASAM and FedASAM with SWA, to all of which the settings apply.
    For example: fedsam compare data.alpha=0.5 rounds=50
    """
    given = parse(settings or [])
    from fedsam.jobs.compare import compare as carry_out
    from fedsam.runs.progress import graceful
    from fedsam.sweeps.compare import show

    with graceful() as stop:
        comparison = carry_out(None, given, seeds=seeds, out=out, quiet=quiet, stop=stop)
    if as_json:
        print(json.dumps(comparison.rows()))
    else:
        show(comparison)
