"""The runs of Caldarola et al. 2022: for each data set a product of methods, alphas and clients per round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from fedsam.experiments.caldarola2022 import tasks
from fedsam.reproduce.base import Preset
from fedsam.run import Run

SEEDS: dict[Preset, int] = {"cpu": 3, "gpu": 3, "paper": 3}
IMAGES: dict[Preset, int] = {"cpu": 1400, "gpu": 5000, "paper": 5000}
"""Training images by which eigenvalues and surfaces are measured."""

METHODS = ("fedavg", "fedsam", "fedasam", "fedavg+swa", "fedsam+swa", "fedasam+swa")
ENDS = ("fedavg", "fedasam+swa")
OTHERS = ("fedprox", "scaffold", "fedavgm", "feddyn", "fedgloss")
CENTRAL = ("sgd", "sam", "asam")
CLIENTS = (5, 10, 20)
"""Per round; the first is not named."""
EVERY = (0, 0.05, 0.1, 0.2, 0.5, 1, 10, 100, 1000)
AUTHORS = EVERY[:-1]
"""The alphas of the authors' CIFAR-10 splits."""
SPLITS = "fedsam_eccv2022.npz"
"""The file of these splits; `fedsam.experiments.caldarola2022.splits` makes it."""
LEAKY = 100
"""The alpha at which the leak is measured, where training goes furthest."""

Keys = dict[str, Any]
ALL: Keys = {"data.clients": 100, "client.epochs": 1, "cohort": 5, "seed": 1}
SMALL: Keys = {"data.name": "digits", "client.lr": 0.1, "client.batch_size": 2, "engine.threads": 1}
SMALL |= {"rounds": 150, "evaluate_every": 10, "evaluate_last": 20}
LARGE: Keys = {"data.name": "cifar10", "data.augment": "crop_flip", "model.name": "cnn"}
LARGE |= {"client.lr": 0.01, "client.batch_size": 64, "client.weight_decay": 4e-4}
LARGE |= {"rounds": 10_000, "evaluate_every": 100, "evaluate_last": 100}
WHOLE: Keys = {"data.clients": 1, "cohort": 1, "data.partition": "iid", "client.batch_size": 64, "evaluate_last": 20}
EPOCHS: Keys = {"rounds": 200, "evaluate_every": 20}


def named(method: str, alpha: float, *more: str) -> str:
    """The name of a run."""
    return " ".join([method, f"alpha {alpha:g}", *more])


def client(method: str, sam: float, asam: float) -> Keys:
    """The client optimiser of a method, and the average over rounds."""
    kind, plus, _ = method.removeprefix("fed").partition("+")
    keys: Keys = {"average.name": "swa"} if plus else {}
    if kind in ("sam", "asam"):
        keys |= {"client.name": kind, "client.rho": sam if kind == "sam" else asam}
    return keys


def digits(method: str, alpha: float) -> Keys:
    """`cpu`."""
    swa = {"average.cycle": 5, "average.lr_end": 0.001} if "+" in method else {}
    return ALL | SMALL | {"data.alpha": alpha} | client(method, 0.2, 0.7) | swa


def cifar10(method: str, alpha: float) -> Keys:
    """`gpu` and `paper`, with the authors' splits where there are any."""
    radii = (0.1, 0.7) if alpha <= 0.5 else (0.02, 0.05)
    split = {"data.partition": "file", "data.split_file": f"{SPLITS}:alpha_{alpha:.2f}"}
    return ALL | LARGE | (split if alpha in AUTHORS else {"data.alpha": alpha}) | client(method, *radii)


def cifar100(method: str, alpha: float) -> Keys:
    """`gpu` and `paper`."""
    own = {"data.name": "cifar100", "data.alpha": alpha, "rounds": 20_000}
    return ALL | LARGE | own | client(method, 0.05 if alpha else 0.02, 0.5)


@dataclass(frozen=True)
class Part:
    """What is trained on one data set.

    Args:
        title: the data set, for a reader.
        before: what names of runs begin with.
        keys: of a method at an alpha.
        alphas: at which all methods are trained, with 5 clients a round.
        crowded: those with 10 and 20 clients a round too.
        shown: those with mixup, cutout, and the methods compared with.
        few: the methods with more clients a round, mixup and cutout.
        augments: the keys of mixup and cutout.
        others: the keys of each method compared with, apart from its name.
        epochs: what central runs set otherwise; None = there are none.
        leak: how the leak is made; None = there is none.
    """

    title: str
    before: str
    keys: Callable[[str, float], Keys]
    alphas: tuple[float, ...]
    crowded: tuple[float, ...] = ()
    shown: tuple[float, ...] = ()
    few: tuple[str, ...] = METHODS
    augments: Mapping[str, Keys] = field(default_factory=dict)
    others: Mapping[str, Keys] = field(default_factory=dict)
    epochs: Keys | None = None
    leak: Keys | None = None

    def named(self, method: str, alpha: float, *more: str) -> str:
        """The name of a run."""
        return self.before + named(method, alpha, *more)

    def central(self, optimizer: str) -> str:
        """The name of a run with all data in one place."""
        return f"{self.before}{optimizer} central"

    @cached_property
    def cells(self) -> dict[str, Keys]:
        """The keys of every run."""
        name, of = self.named, self.keys
        found = {name(m, a): of(m, a) for a, m in product(self.alphas, METHODS)}
        for clients, a, m in product(CLIENTS[1:], self.crowded, self.few):
            found[name(m, a, f"{clients} a round")] = of(m, a) | {"cohort": clients}
        for (augment, own), a, m in product(self.augments.items(), self.shown, self.few):
            found[name(m, a, augment)] = of(m, a) | own
        for (other, own), a in product(self.others.items(), self.shown):
            found[name(other, a)] = of("fedavg", a) | {"server.name": other} | own
        for optimizer in CENTRAL if self.epochs is not None else ():
            keys = of(f"fed{optimizer}", 100) | WHOLE | (self.epochs or {})
            found[self.central(optimizer)] = {
                k: v for k, v in keys.items() if k not in ("data.alpha", "data.split_file")
            }
        for m in ENDS if self.leak is not None else ():
            found[name(m, LEAKY, "leak")] = of(m, LEAKY) | (self.leak or {})
        return found


MIXED: dict[str, Keys] = {"mixup": {"data.augment": "mixup"}, "cutout": {"data.augment": "cutout"}}
# Digits are not to be mirrored, so mixup and cutout come alone; the hole is half their side.
PLAIN: dict[str, Keys] = {"mixup": MIXED["mixup"] | {"data.mixup_after": "none"}}
PLAIN |= {"cutout": MIXED["cutout"] | {"data.cutout_after": "none", "data.cutout_size": 4}}
ASIDE: dict[str, Keys] = {name: {} for name in OTHERS}
TUNED: dict[str, Keys] = ASIDE | {"fedavgm": {"server.beta": 0.5}, "feddyn": {"server.alpha": 0.01}}
TUNED |= {"fedgloss": {"client.name": "sam", "client.rho": 0.1}}
ON_10: dict[str, Keys] = ASIDE | {"fedgloss": {"client.name": "sam", "client.rho": 0.15}}
GLOSS_100: Keys = {"client.name": "sam", "client.rho": 0.2, "server.rho": 0.01, "server.beta": 100.0}
ON_100: dict[str, Keys] = ASIDE | {"fedgloss": GLOSS_100}
LEAK: Keys = {"data.fedsam_leak": True}
LEAKY_DIGITS: Keys = {"data.name": "fedsam.experiments.caldarola2022.leak:LeakyDigits"}

PARTS: dict[Preset, tuple[Part, ...]] = {
    "cpu": (
        Part(
            "digits",
            "",
            digits,
            alphas=(0, 0.05, 0.5, 10, 100),
            crowded=(0,),
            shown=(0,),
            few=ENDS,
            augments=PLAIN,
            others=TUNED,
            epochs={},
            leak=LEAKY_DIGITS,
        ),
    ),
    "gpu": (
        Part(
            "CIFAR-10",
            "",
            cifar10,
            alphas=(0, 0.5, 100),
            crowded=(0,),
            shown=(0,),
            few=ENDS,
            augments=MIXED,
            others=ON_10,
            epochs=EPOCHS,
            leak=LEAK,
        ),
        Part("CIFAR-100", "cifar100 ", cifar100, alphas=(0,)),
    ),
    "paper": (
        Part(
            "CIFAR-10",
            "",
            cifar10,
            alphas=EVERY,
            crowded=EVERY,
            shown=(0, 0.05, 100),
            augments=MIXED,
            others=ON_10,
            epochs=EPOCHS,
            leak=LEAK,
        ),
        Part(
            "CIFAR-100",
            "cifar100 ",
            cifar100,
            alphas=EVERY,
            crowded=EVERY,
            shown=(0, 0.5, 1000),
            augments=MIXED,
            others=ON_100,
            epochs=EPOCHS,
        ),
    ),
}


def runs(preset: Preset) -> dict[str, Run]:
    """All cells of a preset, and the other tasks."""
    every = [*(part.cells for part in PARTS[preset]), tasks.cells(preset, METHODS, client)]
    return {name: Run.from_keys(own) for cells in every for name, own in cells.items()}
