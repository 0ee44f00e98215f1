"""The methods there are, as tables: each row is read off its module, or counted by running it.

`make format` writes them into the documentation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fedsam.algorithm.strategy import Average, Strategy
from fedsam.attack.base import Attack
from fedsam.config import find, names
from fedsam.data.synthetic import Synthetic
from fedsam.errors import InputError
from fedsam.federated.round_loop import Simulation
from fedsam.models.mlp import MLP
from fedsam.optim.base import ClientOptimizer, Oracle
from fedsam.params import Layout
from fedsam.reference.tables import paper, summary, table
from fedsam.run import Run
from fedsam.schedule.base import Clock

ACTS = {
    "own": "which layers are shared",
    "sent": "the model that is sent",
    "point": "where gradients are taken",
    "ascent": "the perturbation",
    "perturbed": "the perturbation",
    "descent": "the descent",
    "rate": "the learning rate of a step",
    "update": "the server's step",
}


class _Counting(Oracle):
    """The gradient of ½‖θ‖², and how often it was asked for."""

    layout = Layout(("weight",), ((3,),))
    t = 0
    clock = Clock(0, 1)

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, theta_P: Tensor) -> Tensor:
        self.calls += 1
        return theta_P

    def change(self, theta_P: Tensor, attack: Attack) -> None:
        self.calls += attack.passes


def gradients(optimizer: ClientOptimizer) -> str:
    """Gradient evaluations of its steps, from the least to the most."""
    counts = set()
    for t in range(20):
        oracle = _Counting()
        oracle.t, oracle.clock = t, Clock(t, 20)
        optimizer.step(torch.ones(3), optimizer.init(torch.ones(3)), oracle, 0.1)
        counts.add(oracle.calls)
    return " or ".join(map(str, sorted(counts)))


def optimizers() -> list[list[str]]:
    """Client optimisers: name, paper, gradients a step."""
    found = [(name, find(ClientOptimizer, name)) for name in names(ClientOptimizer)]
    return [[f"`{name}`", paper(cls), gradients(cls())] for name, cls in found]


def strategies() -> list[list[str]]:
    """Algorithms: name, paper, where they act, vectors a client keeps, models down and up in a round, clients."""
    rows = []
    for name in names(Strategy):
        cls = find(Strategy, name)
        clients = [client for client in ("sgd", "sam") if _fits(name, client)]
        simulation = Simulation(_tiny(name, clients[0]))
        simulation.advance()
        size = 4 * simulation.theta_P.numel() * 2
        acts = [words for hook, words in ACTS.items() if getattr(cls, hook) is not getattr(Strategy, hook)]
        traffic = [f"{total / size:.3g}" for total in (simulation.bytes_down, simulation.bytes_up)]
        who = {"sgd": "that do not perturb", "sam": "that perturb"}[clients[0]] if len(clients) == 1 else "any"
        rows.append([f"`{name}`", paper(cls), ", ".join(acts), str(len(cls.client_state)), *traffic, who])
    return rows


def _tiny(server: str, client: str) -> Run:
    values: dict[str, Any] = {"server": server, "client": client}
    return Run(data=Synthetic(clients=3, samples_per_client=4), model=MLP(width=200), cohort=2, **values)


def _fits(server: str, client: str) -> bool:
    try:
        _tiny(server, client)
    except InputError:
        return False
    return True


def averages() -> list[list[str]]:
    """Averages over rounds: name, paper, what they are."""
    found = [(name, find(Average, name)) for name in names(Average) if name != "none"]
    return [[f"`{name}`", paper(cls), summary(cls)] for name, cls in found]


def markdown() -> str:
    """The three tables."""
    parts = [
        (["`client.name`", "paper", "gradients a step"], optimizers()),
        (
            ["`server.name`", "paper", "acts on", "vectors a client keeps", "models down", "up", "clients"],
            strategies(),
        ),
        (["`average.name`", "paper", "what is served"], averages()),
    ]
    return "\n".join(table(header, rows) for header, rows in parts)
