"""Which method, for what: every strategy with every client optimiser, on one data set and one budget, searched alike.

Each pair gets the same number of trials, drawn from the values in `method_grids`, judged on examples that clients hold
out; the best of them is trained anew on all training examples, with other seeds. What is finished is not repeated.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from fedsam.algorithm.strategy import Strategy
from fedsam.config import find, names
from fedsam.errors import InputError, RunError, under
from fedsam.federated.build import assemble
from fedsam.measure.names import value_of
from fedsam.optim.base import ClientOptimizer
from fedsam.rng import stream
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.storage.lock import locked
from fedsam.sweeps import grid
from fedsam.sweeps.compare import train
from fedsam.sweeps.method_files import write
from fedsam.sweeps.method_grids import CLIENT, LR, SERVER
from fedsam.sweeps.method_results import Method, Methods
from fedsam.sweeps.sweep import Job, default_out, finished, plan

DEFAULTS: dict[str, Any] = {"data.alpha": 0.1, "rounds": 60, "evaluate_every": 2, "engine.threads": 1}
HELD_OUT = 0.2
"""Share of each client's examples by which trials are judged."""
APART = 100
"""How far the seed of the search lies from that of the runs in the table."""
PARTS = "server.name", "client.name"


@dataclass(frozen=True)
class Pair:
    """A strategy and a client optimiser.

    Args:
        server, client: their names.
        keys: what all methods have in common, and these names.
        trials: the values of their own keys that are tried.
    """

    server: str
    client: str
    keys: dict[str, Any]
    trials: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.server} + {self.client}"

    def run(self, trial: Mapping[str, Any], **more: Any) -> Run:
        """The run of a trial.

        Raises:
            InputError: it cannot be.
        """
        return Run.from_keys({**self.keys, **trial, **more})


def pairs(given: Mapping[str, Any], trials: int) -> tuple[list[Pair], dict[str, str]]:
    """What is compared, and why which pairs are not.

    Args:
        given: keys of all runs; `server.name` and `client.name` may have several values, without them all there are.
            A key of a method replaces its values in `method_grids`, for every method that has it.
        trials: of each pair, if its grid has as many.

    Raises:
        InputError: a key is of no method, or no pair is left.
    """
    keys = {name: value for name, value in {**DEFAULTS, **given}.items() if name not in PARTS}
    own = {name: grid.values(value, name) for name, value in keys.items() if name.startswith(("client.", "server."))}
    shared = {name: value for name, value in keys.items() if name not in own}
    if several := next((name for name, value in shared.items() if len(grid.values(value, name)) > 1), None):
        raise InputError(several, shared[several], "must have one value: all methods are compared on the same")
    servers = grid.values(given["server.name"]) if "server.name" in given else _plain_first(Strategy, "fedavg")
    clients = grid.values(given["client.name"]) if "client.name" in given else _plain_first(ClientOptimizer, "sgd")
    found, skipped, used = [], dict[str, str](), set[str]()
    refused = _refused(shared, own, clients)
    for server, client in itertools.product(servers, clients):
        name, parts = f"{server} + {client}", {"server.name": server, "client.name": client}
        if client in refused:
            skipped[name] = refused[client]
            continue
        replaced = grid.understood({key: values[0] for key, values in own.items()} | parts)
        if find(Strategy, server)().personal:
            skipped[name] = "its clients have models of their own, of which the shared test set says nothing"
            continue
        choices = _grid(server, client, own) | {key: own[key] for key in replaced if key in own}
        used |= set(choices)
        pair = Pair(server, client, {**shared, **parts}, _drawn(name, choices, trials))
        try:
            pair.run(pair.trials[0])
        except InputError as error:
            skipped[name] = str(error)
            continue
        found.append(pair)
    if not found:
        raise InputError("", InputError.ABSENT, f"no pair is left: {next(iter(skipped.values()))}")
    if unused := sorted(set(own) - used):
        raise InputError(unused[0], own[unused[0]], "no method here has this key")
    return found, skipped


def _plain_first(kind: Any, plain: str) -> list[str]:
    return [plain, *(name for name in names(kind) if name != plain)]


def _refused(shared: Mapping[str, Any], own: Mapping[str, list[Any]], clients: Sequence[str]) -> dict[str, str]:
    """Why the model has no place for which client optimisers."""
    layout = assemble(Run.from_keys(dict(shared)))[1].layout
    first, found = {key: values[0] for key, values in own.items() if key.startswith("client.")}, {}
    for name in clients:
        keys = grid.understood({**shared, **first, "client.name": name})
        try:
            with under("client"):
                Run.from_keys(keys).client.check_model(layout)
        except InputError as error:
            found[name] = str(error)
    return found


def _grid(server: str, client: str, own: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of each key of a pair."""
    base = grid.values(own["client.base"])[0] if "client.base" in own else None
    optimizer = find(ClientOptimizer, client)().base_optimizer.name
    rates = LR.get(str(base) if base and client not in LR else optimizer, LR["sgd"])
    found = {"client.lr": rates}
    found |= {f"client.{key}": values for key, values in CLIENT.get(client, {}).items()}
    return found | {f"server.{key}": values for key, values in SERVER.get(server, {}).items()}


def _drawn(name: str, choices: Mapping[str, Sequence[Any]], trials: int) -> list[dict[str, Any]]:
    """So many combinations of the values, no two the same; the same for a pair whatever it is compared with."""
    sizes = [len(values) for values in choices.values()]
    most = math.prod(sizes)
    places = stream(0, f"methods {name}").permutation(most)[:trials]
    found = []
    for place in sorted(places.tolist()):
        at = np.unravel_index(place, sizes)
        found.append({key: values[int(n)] for (key, values), n in zip(choices.items(), at, strict=True)})
    return found


def study(
    given: Mapping[str, Any],
    seeds: int,
    trials: int,
    progress: Progress,
    stop: threading.Event | None = None,
    *,
    out: Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    target: float | None = None,
) -> Methods:
    """Carry search and runs out, and write methods.json, .csv, .md, .toml and the figure.

    Args:
        given, trials: as for `pairs`.
        seeds: of the runs in the table, from `seed` on.
        progress, stop, workers, address: as for `compare`.
        out: the directory; None = one for these settings under runs/.
        target: of which rounds and bytes are counted; None = what the first method ends at.

    Raises:
        InputError: nothing of it can be run.
        RunError: no pair came to its end.
    """
    found, skipped = pairs(given, trials)
    seed = int(found[0].keys.get("seed", 0))
    searched = {
        _trial(pair, number): pair.run(trial, **{"data.validation": HELD_OUT, "seed": seed + APART})
        for pair in found
        for number, trial in enumerate(pair.trials)
    }
    home = out or default_out(searched, seeds)
    with locked(home):
        jobs = plan(searched, 1, home / "search")
        failures = train(jobs, progress, stop, workers, address, go_on=True)
        judged = {job.setting: _final(job) for job in jobs}
        chosen = {pair: best for pair in range(len(found)) if (best := _best(found[pair], judged)) is not None}
        runs = {
            found[place].name: found[place].run(found[place].trials[best], **_measured(found[place]))
            for place, best in chosen.items()
        }
        jobs = plan(runs, seeds, home / "final")
        failures += train(jobs, progress, stop, workers, address, go_on=True)
        methods = []
        for place, best in chosen.items():
            pair = found[place]
            records = {job.run.seed: there for job in jobs if job.setting == pair.name and (there := finished(job))}
            if records:
                tried = [(trial, judged[_trial(pair, number)]) for number, trial in enumerate(pair.trials)]
                methods.append(Method(pair.server, pair.client, runs[pair.name], tried, best, records))
        if not methods:
            raise RunError(f"no method came to its end: {'; '.join(failures[:3])}")
        result = Methods(methods, skipped, failures, home, target)
        write(result, {name: value for name, value in found[0].keys.items() if name not in PARTS})
    return result


def _trial(pair: Pair, number: int) -> str:
    return f"{pair.name}, trial {number}"


def _measured(pair: Pair) -> dict[str, Any]:
    """λ₁ of the Hessian after the last round, unless the keys say what is measured."""
    if any(name.startswith("geometry.") for name in pair.keys):
        return {}
    rounds = Run.from_keys(pair.keys).rounds
    return {"geometry.every": rounds, "geometry.top": 1}


def _final(job: Job) -> float | None:
    """The mean of the held-out metric over the last third of a trial; None where it failed or is no number."""
    records = finished(job)
    if not records:
        return None
    value = fmean(float(value_of(r)) for r in records if 3 * r["round"] > 2 * job.run.rounds)
    return value if math.isfinite(value) else None


def _best(pair: Pair, judged: Mapping[str, float | None]) -> int | None:
    """The trial that was judged best, the first of those; None where all failed."""
    score = pair.run(pair.trials[0]).learnt.score
    best: int | None = None
    for number in range(len(pair.trials)):
        value = judged[_trial(pair, number)]
        kept = None if best is None else judged[_trial(pair, best)]
        if value is not None and (kept is None or score.is_better(value, kept)):
            best = number
    return best
