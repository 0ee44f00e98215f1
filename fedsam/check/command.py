"""`fedsam check`: a run is built, one round of it is trained for nothing, and one step is compared with torch's.

Shapes: K clients, P parameters.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fedsam.check.one_step import Comparison, compared
from fedsam.engine.base import Engine
from fedsam.engine.cohort import Cohort, block_of
from fedsam.engine.context import RunContext, numerics
from fedsam.engine.support.peak import process_peak
from fedsam.errors import DivergedError, RunError
from fedsam.federated.round_loop import Simulation
from fedsam.measure.evaluate import evaluate
from fedsam.run import Run

SHORT = 2.0  # seconds of a round; a second one is not slowed down by what comes first


@dataclass(frozen=True)
class Checked:
    """What `check` has found.

    Args:
        spec: by group and name, as plain JSON types.
        comparisons: of one step here and in torch.
    """

    spec: dict[str, dict[str, Any]]
    comparisons: list[Comparison]

    def summary(self) -> dict[str, Any]:
        """All of it, as plain JSON types."""
        steps = [{**vars(one), "equal": one.equal} for one in self.comparisons]
        return {**self.spec, "torch": {"equal": not self.differing, "comparisons": steps}}

    @property
    def differing(self) -> list[Comparison]:
        """Comparisons that rounding does not explain."""
        return [one for one in self.comparisons if not one.equal]


def check(run: Run) -> Checked:
    """Build a run, train a round of it, or two if they are short, and compare a step with torch; nothing is written.

    Raises:
        InputError: the run cannot be built.
        RunError: the round fails, or its loss is not finite.
    """
    run = run.replace(out=None)
    with numerics(run.engine.precision), closing(Simulation(run)) as simulation:
        comparisons = compared(simulation)
        seconds, traffic = _round(simulation)
        began = time.perf_counter()
        weights = simulation.statistics.of(simulation.theta_P, simulation.theta_P)
        loss, _ = evaluate(simulation.context, weights, simulation.measures.test)
        if not math.isfinite(loss):
            raise DivergedError(f"round {simulation.done}: the loss of the global model is not finite; lower client.lr")
        evaluating = time.perf_counter() - began
        evaluations = -(-run.rounds // run.evaluate_every) + run.evaluate_last - 1
        spec = {
            "data": _data(simulation),
            "model": _model(simulation.context),
            "engine": _engine(simulation),
            "memory": _memory(simulation),
            "traffic": traffic,
            "time": {
                "round_seconds": seconds,
                "evaluation_seconds": evaluating,
                "run_seconds": run.rounds * seconds + evaluations * evaluating,
            },
        }
    return Checked(spec, comparisons)


def report(run: Run, as_json: bool) -> None:
    """Print what `check` finds.

    Raises:
        RunError: a step here is not what it is in torch; what was found is printed all the same.
    """
    found = check(run)
    if as_json:
        print(json.dumps(found.summary()))
    else:
        _show(run, found)
    if found.differing:
        first = found.differing[0]
        more = f" (and {len(found.differing) - 1} more)" if len(found.differing) > 1 else ""
        what = f"{first.what} is {first.difference:.1e} of its size away from torch's, at most {first.allowed:.0e} is"
        cure = ", or use engine.name=loop" if all("block" in each.what for each in found.differing) else ""
        raise RunError(f"{what} rounding{more}: another model would be trained; report it{cure}")


def _round(simulation: Simulation) -> tuple[float, dict[str, int]]:
    """Seconds and traffic of the last round that was trained."""
    seconds, traffic = math.inf, {"clients": 0, "bytes_down": 0, "bytes_up": 0}
    for _ in range(min(2, simulation.run.rounds)):
        down, up, began = simulation.bytes_down, simulation.bytes_up, time.perf_counter()
        ids, _lr = simulation.advance()
        seconds = time.perf_counter() - began
        traffic = {
            "clients": len(ids),
            "bytes_down": simulation.bytes_down - down,
            "bytes_up": simulation.bytes_up - up,
        }
        if seconds > SHORT:
            break
    return seconds, traffic


def _data(simulation: Simulation) -> dict[str, Any]:
    federation = simulation.federation
    sizes_K = np.asarray(federation.sizes(range(federation.clients)))
    return {
        "name": simulation.run.data.name,
        "shape": list(federation.spec.shape),
        "classes": federation.spec.classes,
        "clients": federation.clients,
        "examples": int(sizes_K.sum()),
        "smallest": int(sizes_K.min()),
        "mean": float(sizes_K.mean()),
        "largest": int(sizes_K.max()),
        federation.measured: len(federation.test),
    }


def _model(context: RunContext) -> dict[str, Any]:
    parameters = list(context.module.parameters())
    return {
        "name": context.keys["model.name"],
        "parameters": sum(tensor.numel() for tensor in parameters),
        "trained": context.layout.total,
        "frozen": sum(tensor.numel() for tensor in parameters if not tensor.requires_grad),
        "buffers": sum(tensor.numel() for tensor in context.module.buffers()),
        "statistics": context.batchnorms.total if context.batchnorms else 0,
    }


def working(simulation: Simulation) -> Engine:
    """The engine that trains, which another may have started elsewhere."""
    found: Engine = getattr(simulation.trainer, "engine", simulation.engine)
    return found


def _engine(simulation: Simulation) -> dict[str, Any]:
    context, engine = simulation.context, working(simulation)
    in_blocks = isinstance(engine, Cohort)
    return {
        "name": simulation.engine.name,
        "reason": simulation.reason,
        "device": str(context.device),
        "precision": context.precision,
        "threads": torch.get_num_threads(),
        "in_blocks": in_blocks,
        "block": (engine.block or block_of(context)) if in_blocks else 1,
        "gradient": gradient(context, in_blocks),
    }


def gradient(context: RunContext, in_blocks: bool) -> str:
    """Which code computes the gradients."""
    kernel = next(kernel for kernel in context.kernels if kernel.batched or not in_blocks)
    alone = kernel.batched and not in_blocks  # what computes blocks is not asked for one client
    return (context.autograd if alone else kernel).name


def _memory(simulation: Simulation) -> dict[str, Any]:
    context, engine = simulation.context, working(simulation)
    number, size = context.layout.total, torch.finfo(context.dtype).bits // 8
    rows = engine.block or block_of(context) if isinstance(engine, Cohort) else 1
    rows = min(rows, simulation.run.cohort)
    state = len(context.optimizer.init(simulation.theta_P[:1]))
    own = size * sum(context.client_state.values())
    found = {
        "weights": size * number,
        "client_state": own,
        "all_client_states": own * simulation.federation.clients,
        # sent, in training, gradient and what the optimiser keeps; activations come on top
        "block": size * number * rows * (3 + state) + own * rows,
        "process_peak": process_peak(),
    }
    if context.device.type == "cuda":
        found["device_peak"] = torch.cuda.max_memory_allocated(context.device)
    return found


def _show(run: Run, found: Checked) -> None:
    from fedsam.runs.progress import show_facts

    data, model, engine, memory, traffic, spent = found.spec.values()
    shape = "×".join(map(str, data["shape"]))
    split = next(name for name in ("validation", "test") if name in data)
    sizes = f"{data['smallest']:,} to {data['largest']:,}, mean {data['mean']:.4g}"
    statistics = f", {model['statistics']:,} statistics" if model["statistics"] else ""
    peak = f", on the device {_size(memory['device_peak'])}" if "device_peak" in memory else ""
    how = f"in blocks of {engine['block']}" if engine["in_blocks"] else "one by one"
    shown = {
        "data": f"{data['name']}: {data['examples']:,} training and {data[split]:,} {split} examples {shape},"
        f" {data['classes']} classes",
        "clients": f"{data['clients']:,}, examples {sizes}; {run.cohort} a round",
        "model": f"{model['name']}: {model['parameters']:,} parameters, {model['trained']:,} trained,"
        f" {model['frozen']:,} frozen; {model['buffers']:,} in buffers{statistics}",
        "engine": f"{engine['name']} ({engine['reason']}), {how}; {engine['device']}, {engine['precision']},"
        f" {engine['threads']} thread{'s' * (engine['threads'] > 1)}",
        "kernel": engine["gradient"],
        "memory": f"weights {_size(memory['weights'])}, a client's state {_size(memory['client_state'])}"
        f" (all {_size(memory['all_client_states'])}), a block {_size(memory['block'])} and its activations;"
        f" peak of this process {_size(memory['process_peak'])}{peak}",
        "traffic of a round": f"{_size(traffic['bytes_down'])} down, {_size(traffic['bytes_up'])} up",
        "time": f"{spent['round_seconds']:.3g} s a round, {spent['evaluation_seconds']:.3g} s an evaluation:"
        f" {_clock(spent['run_seconds'])} for {run.rounds:,} rounds",
    }
    show_facts(shown | {one.what: one.told() for one in found.comparisons})


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
