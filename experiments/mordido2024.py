"""Mordido, Malviya, Baratin and Chandar, "Lookbehind-SAM: k steps back, 1 step forward", ICML 2024.

The question: several steps of ascent on a mini-batch, each followed by a step of descent, and then an interpolation
towards where they lead, find flatter minima than SAM or ASAM, generalise better, stand noise in the weights better, and
forget less in a sequence of tasks; better also than several ascents alone (multistep SAM) and Lookahead around SAM.

Training is centralised: a federation of one client that keeps its momentum, a round being an epoch.

| key | cpu | gpu | paper |
|---|---|---|---|
| data.name | digits | cifar10 | cifar10 |
| data.clients | 1 | 1 | 1 |
| data.partition | iid | iid | iid |
| data.samples_per_client | 300 | - | - |
| data.augment | none | crop_flip | crop_flip |
| model.name | mlp | resnet18 | resnet18 |
| model.depth | 2 | - | - |
| model.norm | - | batch | batch |
| client.lr | 0.02 | 0.1 | 0.1 |
| client.batch_size | 16 | 128 | 128 |
| client.epochs | 1 | 1 | 1 |
| client.momentum | 0.9 | 0.9 | 0.9 |
| client.persistent | true | true | true |
| client.weight_decay | 0.0005 | 0.0005 | 0.0005 |
| client.schedule | steps | steps | steps |
| client.drop | 0.1 | 0.1 | 0.1 |
| client.period | 0.25 | 0.25 | 0.25 |
| client.drops | 3 | 3 | 3 |
| engine.name | loop | auto | auto |
| engine.threads | 1 | 0 | 0 |
| rounds | 60 | 200 | 200 |
| cohort | 1 | 1 | 1 |
| evaluate_every | 1 | 1 | 1 |
| seed | 1 | 1 | 1 |

| runs | keys | presets, where not all |
|---|---|---|
| sgd, sgd task * | client.name=sgd |
| sam rho={rho} | client.name=sam client.rho={rho} |
| asam rho={rho} | client.name=asam client.rho={rho} client.eta=0 |
| multistep k={k} | client.name=multistep client.k={k} client.rho=0.1/0.05/0.05 |
| lookahead k={k} | client.name=lookahead client.k={k} client.alpha=0.5 client.rho=0.1/0.05/0.05 |
| lookbehind k={k} rho={rho} alpha={a} | client.name=lookbehind client.k={k} client.rho={rho} client.alpha={a} |
| lookbehind-asam rho={rho} | client.name=lookbehind client.ascent=asam client.k=2 client.rho={rho} client.eta=0 |
| sam task * | client.name=sam client.rho=0.1/0.05/0.05 |
| lookbehind task * | client.name=lookbehind client.k=2 client.rho=0.1/0.05/0.05 |
| lookbehind-asam *, lookbehind task * | client.alpha=adaptive |
| * task {task} | data.turns={task-1} rounds=50 |
| * task * | data.name=fedsam.reproduce.tasks:RotatedDigits | cpu |
| * task * | data.name=fedsam.reproduce.tasks:RotatedCIFAR10 | gpu, paper |
| * task 2, * task 3, * task 4 | model.name=fedsam.reproduce.continued:Continued model.depth=- model.norm=- |
| {method} task 2 | model.of={method} task 1 |
| {method} task 3 | model.of={method} task 2 |
| {method} task 4 | model.of={method} task 3 |

The data are the digits of scikit-learn, 300 of them, and an MLP of two hidden layers of 64 units in `cpu`; CIFAR-10
and a ResNet-18 with BatchNorm in the others. A sequence of tasks is the same images turned by 0, 1, 2 and 3 quarters,
for 50 epochs each, each task beginning with the model that the one before it ended with. k, rho and alpha stand in the
runs' names; where they do not, rho is 0.1 in `cpu` and 0.05 in the others, k is 2 and alpha adaptive, and alpha of
Lookahead is 0.5. Seeds: 3 in each; `gpu` has one radius and fewer k and alpha.

Deviations. `paper`: CIFAR-10 alone, with ResNet-18 in place of ResNet-34; the paper's k grid, its settings for
sequences of tasks and for ImageNet could not be found, nor its tables, so no published number stands here; rotated
images as tasks are our choice; adaptive alpha is one number for all parameters (the authors' code: one for each
tensor); accuracy is that of the last epoch, not of the best one. `cpu`: 300 training images, so that the methods
differ at all; mini-batches of 16; the learning rate is the better one of two, 0.02 and 0.05, for Lookbehind (with 0.05
it diverged for k = 5), chosen with seed 0, which is not among the seeds. Noise in the weights is relative, sigma |w|
e, and its accuracy that of the test images. Sharpness is the rise of the training loss in a ball, found by 5 steps of
ascent.

What the `cpu` preset shows: Lookbehind ends in flatter minima than SAM at every radius looked at; that holds. All
differences of accuracy are too small for three seeds and 397 test images. With k = 5 an alpha of 0.8, and the adaptive
one most of all, makes training unstable at this learning rate, which small static ones prevent. In the sequence of
turned images Lookbehind forgot more than SAM, not less, though with these seeds that stays undecided as well. The core
was shared with other work; alone the whole preset takes some 4 minutes of processor time.

<!-- measured -->
| claim | published | measured | ours | holds |
|---|---|---|---|---|
| Lookbehind around SAM generalises better than SAM | not available (section 4.2) | test error of lookbehind k=2 rho=0.1 alpha=adaptive less that of sam rho=0.1; below 0 | 0.00168 ± 0.022 | undecided |
| Lookbehind around ASAM generalises better than ASAM | not available (section 4.2) | test error of lookbehind-asam rho=0.5 less that of asam rho=0.5; below 0 | -0.00756 ± 0.022 | undecided |
| It generalises better than several steps of ascent alone | not available (baselines) | test error of lookbehind k=2 rho=0.1 alpha=adaptive less that of multistep k=2; below 0 | 0.00252 ± 0.019 | undecided |
| It generalises better than Lookahead around SAM | not available (baselines) | test error of lookbehind k=2 rho=0.1 alpha=adaptive less that of lookahead k=2; below 0 | -0.00168 ± 0.024 | undecided |
| It is better than SAM over a range of radii | not available (sensitivity to rho) | mean over rho of the test error of lookbehind k=2 less that of sam; below 0 | -0.00196 ± 0.0067 | undecided |
| Adaptive alpha needs no tuning | not available (sensitivity to alpha) | test error with adaptive alpha less the lowest with a static one; below 0.01 | 0.00756 ± 0.011 | undecided |
| It ends in flatter minima than SAM, at several radii | not available (section 4.3) | mean over radii of log(sharpness / that of SAM); below 0 | -1.09 ± 0.24 | yes |
| It stands noise in the weights better than SAM | not available (section 4.4) | mean over sigma > 0 of the accuracy under noise less that of SAM; above 0 | 0.00781 ± 0.012 | undecided |
| It forgets less than SAM in a sequence of tasks | not available (section 4.5) | forgetting less that of SAM; below 0 | 0.107 ± 0.11 | undecided |
| After the last task it is more accurate than SAM over all tasks | not available (section 4.5) | mean accuracy over tasks less that of SAM; above 0 | -0.0751 ± 0.082 | undecided |

Preset cpu, seeds 1, 2, 3; ours: mean and 95 % interval over seeds. 102 runs, 10.1 minutes of training; 1 core of AMD EPYC, torch 2.15.0.
<!-- end of measured -->
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fedsam.reproduce.base import Claim, Preset
from fedsam.reproduce.continued import Continued
from fedsam.reproduce.figures import Line, Panel
from fedsam.reproduce.measures import NoisyAccuracy, Sharpness, TestAccuracy
from fedsam.reproduce.results import Results
from fedsam.run import Run

TITLE = "Mordido et al., Lookbehind-SAM: k steps back, 1 step forward, ICML 2024"
SEEDS: dict[Preset, int] = {"cpu": 3, "gpu": 3, "paper": 3}

RHO: dict[Preset, tuple[float, ...]] = {"cpu": (0.05, 0.1, 0.2), "gpu": (0.05,), "paper": (0.02, 0.05, 0.1, 0.2)}
BASE: dict[Preset, float] = {"cpu": 0.1, "gpu": 0.05, "paper": 0.05}
ADAPTED: dict[Preset, tuple[float, ...]] = {"cpu": (0.5, 1.0), "gpu": (0.5,), "paper": (0.5, 1.0)}
K: dict[Preset, tuple[int, ...]] = {"cpu": (2, 5), "gpu": (2,), "paper": (2, 5, 10)}
ALPHA: dict[Preset, tuple[float | str, ...]] = {
    "cpu": (0.2, 0.5, 0.8, "adaptive"),
    "gpu": (0.5, "adaptive"),
    "paper": (0.2, 0.5, 0.8, "adaptive"),
}
TASKS = 4
TASK_ROUNDS = 50
RADII = (0.05, 0.1, 0.2, 0.5)
SIGMAS = (0.0, 0.1, 0.2, 0.4, 0.6)

ALL: dict[str, Any] = {"data.clients": 1, "data.partition": "iid", "cohort": 1, "client.epochs": 1, "evaluate_every": 1}
ALL |= {"client.momentum": 0.9, "client.persistent": True, "client.weight_decay": 5e-4, "seed": 1}
ALL |= {"client.schedule": "steps", "client.drop": 0.1, "client.period": 0.25, "client.drops": 3}
SMALL: dict[str, Any] = {"data.name": "digits", "data.samples_per_client": 300, "model.depth": 2, "rounds": 60}
SMALL |= {"client.lr": 0.02, "client.batch_size": 16, "engine.name": "loop", "engine.threads": 1}
LARGE: dict[str, Any] = {
    "data.name": "cifar10",
    "data.augment": "crop_flip",
    "model.name": "resnet18",
    "model.norm": "batch",
}
LARGE |= {"client.lr": 0.1, "client.batch_size": 128, "rounds": 200}


def lookbehind(preset: Preset, k: int = 2, rho: float | None = None, alpha: float | str = "adaptive") -> str:
    """The name of a run."""
    return f"lookbehind k={k} rho={BASE[preset] if rho is None else rho:g} alpha={alpha}"


def runs(preset: Preset) -> dict[str, Run]:
    """Each method over its numbers, and three of them on a sequence of tasks."""
    common, base = ALL | (SMALL if preset == "cpu" else LARGE), {"client.rho": BASE[preset]}
    keys: dict[str, dict[str, Any]] = {"sgd": {"client.name": "sgd"}}
    keys |= {f"sam rho={rho:g}": {"client.name": "sam", "client.rho": rho} for rho in RHO[preset]}
    for rho in ADAPTED[preset]:
        adapted = {"client.rho": rho, "client.eta": 0.0}
        keys[f"asam rho={rho:g}"] = {"client.name": "asam"} | adapted
        keys[f"lookbehind-asam rho={rho:g}"] = {"client.name": "lookbehind", "client.ascent": "asam"} | adapted
    for k in K[preset]:
        keys[f"multistep k={k}"] = {"client.name": "multistep", "client.k": k} | base
        keys[f"lookahead k={k}"] = {"client.name": "lookahead", "client.k": k} | base
        for alpha in ALPHA[preset]:
            keys[lookbehind(preset, k, None, alpha)] = _lookbehind(k, BASE[preset], alpha)
    keys |= {lookbehind(preset, 2, rho): _lookbehind(2, rho, "adaptive") for rho in RHO[preset]}
    return {name: Run.from_keys(common | own) for name, own in keys.items()} | _sequences(preset)


def _lookbehind(k: int, rho: float, alpha: float | str) -> dict[str, Any]:
    return {"client.name": "lookbehind", "client.k": k, "client.rho": rho, "client.alpha": alpha}


def _sequences(preset: Preset) -> dict[str, Run]:
    common = ALL | (SMALL if preset == "cpu" else LARGE) | {"rounds": TASK_ROUNDS}
    common["data.name"] = f"fedsam.reproduce.tasks:Rotated{'Digits' if preset == 'cpu' else 'CIFAR10'}"
    methods: dict[str, dict[str, Any]] = {
        "sgd": {"client.name": "sgd"},
        "sam": {"client.name": "sam", "client.rho": BASE[preset]},
        "lookbehind": _lookbehind(2, BASE[preset], "adaptive"),
    }
    found = {}
    for method, own in methods.items():
        for task in range(1, TASKS + 1):
            run = Run.from_keys(common | own | {"data.turns": task - 1})
            before = Continued(of=f"{method} task {task - 1}")
            found[f"{method} task {task}"] = run if task == 1 else run.replace(model=before)
    return found


def error(results: Results, name: str, seed: int) -> float:
    """The share of test images that are wrong at the end."""
    return 1 - results.last(name, seed, "test_accuracy")


def accuracies(results: Results, method: str, seed: int) -> list[float]:
    """Of the model after the last task, on each task."""
    last = f"{method} task {TASKS}"
    return [results.measure(last, seed, TestAccuracy(f"{method} task {task}")) for task in range(1, TASKS + 1)]


def forgotten(results: Results, method: str, seed: int) -> float:
    """The mean over all tasks but the last of the accuracy right after the task less that after the last one."""
    right_after = [results.last(f"{method} task {task}", seed, "test_accuracy") for task in range(1, TASKS)]
    return float(np.mean(np.array(right_after) - accuracies(results, method, seed)[:-1]))


def claims(preset: Preset) -> list[Claim]:
    """What the paper says; where a claim names no numbers, they are k = 2, adaptive alpha and the radius of SAM."""
    sam, ours = f"sam rho={BASE[preset]:g}", lookbehind(preset)
    adapted = f"rho={ADAPTED[preset][0]:g}"
    still = [alpha for alpha in ALPHA[preset] if alpha != "adaptive"]

    def better(text: str, than: str, place: str, name: str = ours) -> Claim:
        def value(results: Results, seed: int) -> float:
            return error(results, name, seed) - error(results, than, seed)

        return Claim(text, place, f"test error of {name} less that of {than}", value, "below")

    def sharper(results: Results, seed: int) -> float:
        one, other = (np.array(results.measure(name, seed, Sharpness(RADII))) for name in (ours, sam))
        return float(np.mean(np.log(one / other))) if (one > 0).all() and (other > 0).all() else math.nan

    def noisy(results: Results, seed: int) -> float:
        one, other = (np.array(results.measure(name, seed, NoisyAccuracy(SIGMAS))) for name in (ours, sam))
        return float(np.mean((one - other)[1:]))

    def over_radii(results: Results, seed: int) -> float:
        pairs = [(lookbehind(preset, 2, rho), f"sam rho={rho:g}") for rho in RHO[preset]]
        return float(np.mean([error(results, one, seed) - error(results, other, seed) for one, other in pairs]))

    def untuned(results: Results, seed: int) -> float:
        best = min(error(results, lookbehind(preset, 2, None, alpha), seed) for alpha in still)
        return error(results, ours, seed) - best

    return [
        better("Lookbehind around SAM generalises better than SAM", sam, "section 4.2"),
        better(
            "Lookbehind around ASAM generalises better than ASAM",
            f"asam {adapted}",
            "section 4.2",
            f"lookbehind-asam {adapted}",
        ),
        better("It generalises better than several steps of ascent alone", "multistep k=2", "baselines"),
        better("It generalises better than Lookahead around SAM", "lookahead k=2", "baselines"),
        Claim(
            "It is better than SAM over a range of radii",
            "sensitivity to rho",
            "mean over rho of the test error of lookbehind k=2 less that of sam",
            over_radii,
            "below",
        ),
        Claim(
            "Adaptive alpha needs no tuning",
            "sensitivity to alpha",
            "test error with adaptive alpha less the lowest with a static one",
            untuned,
            "below",
            0.01,
        ),
        Claim(
            "It ends in flatter minima than SAM, at several radii",
            "section 4.3",
            "mean over radii of log(sharpness / that of SAM)",
            sharper,
            "below",
        ),
        Claim(
            "It stands noise in the weights better than SAM",
            "section 4.4",
            "mean over sigma > 0 of the accuracy under noise less that of SAM",
            noisy,
            "above",
        ),
        Claim(
            "It forgets less than SAM in a sequence of tasks",
            "section 4.5",
            "forgetting less that of SAM",
            lambda r, s: forgotten(r, "lookbehind", s) - forgotten(r, "sam", s),
            "below",
        ),
        Claim(
            "After the last task it is more accurate than SAM over all tasks",
            "section 4.5",
            "mean accuracy over tasks less that of SAM",
            lambda r, s: float(np.mean(accuracies(r, "lookbehind", s)) - np.mean(accuracies(r, "sam", s))),
            "above",
        ),
    ]


def figures(preset: Preset) -> dict[str, Callable[[Results], list[Panel]]]:
    """The paper's analyses, of our runs."""
    sam, ours, adapted = f"sam rho={BASE[preset]:g}", lookbehind(preset), f"rho={ADAPTED[preset][0]:g}"
    methods = ("sgd", sam, "multistep k=2", "lookahead k=2", ours, f"asam {adapted}", f"lookbehind-asam {adapted}")
    around = (sam, "multistep k=2", "lookahead k=2", ours)
    return {
        "generalisation": lambda r: [_methods(r, methods, field) for field in ("test_accuracy", "test_loss")],
        "sensitivity": lambda r: [_over_rho(r, preset), _over_alpha(r, preset)],
        "sharpness": lambda r: [
            Panel("radius", "rise of the training loss", _measured(r, around, Sharpness(RADII), RADII), log=True)
        ],
        "noise": lambda r: [
            Panel("sigma, relative", "test accuracy", _measured(r, around, NoisyAccuracy(SIGMAS), SIGMAS))
        ],
        "tasks": lambda r: [_tasks(r)],
    }


def _methods(results: Results, names: tuple[str, ...], field: str) -> Panel:
    rows = [[results.last(name, seed, field) for name in names] for seed in results.seeds]
    return Panel(
        "",
        field.replace("_", " "),
        {"runs": (range(len(names)), rows)},
        labels=tuple(name.partition(" alpha")[0] for name in names),
    )


def _over_rho(results: Results, preset: Preset) -> Panel:
    lines: dict[str, Line] = {}
    for label, name in (("sam", "sam rho={:g}".format), ("lookbehind", lambda rho: lookbehind(preset, 2, rho))):
        rows = [[error(results, name(rho), seed) for rho in RHO[preset]] for seed in results.seeds]
        lines[label] = RHO[preset], rows
    return Panel("rho", "test error", lines)


def _over_alpha(results: Results, preset: Preset) -> Panel:
    lines: dict[str, Line] = {}
    for k in K[preset]:
        names = [lookbehind(preset, k, None, alpha) for alpha in ALPHA[preset]]
        lines[f"k = {k}"] = range(len(names)), [[error(results, n, seed) for n in names] for seed in results.seeds]
    return Panel("alpha", "test error", lines, labels=tuple(map(str, ALPHA[preset])))


def _measured(results: Results, names: tuple[str, ...], measure: Any, x: tuple[float, ...]) -> dict[str, Line]:
    return {name: (x, [results.measure(name, seed, measure) for seed in results.seeds]) for name in names}


def _tasks(results: Results) -> Panel:
    methods = ("sgd", "sam", "lookbehind")
    x = range(1, TASKS + 1)
    lines = {method: (x, [accuracies(results, method, seed) for seed in results.seeds]) for method in methods}
    return Panel("task", "accuracy after the last task", lines)
