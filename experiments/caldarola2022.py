"""Caldarola, Caputo and Ciccone, "Improving generalization in federated learning by seeking flat minima", ECCV 2022.

The question: where clients' data differ, the federated model ends in a sharp minimum and generalises badly. Do clients
that train with SAM or ASAM (FedSAM, FedASAM), and the average of the server's models under a cyclic learning rate
(SWA), make it flatter and better, and close the gap to centralised training?

| key | cpu | gpu | paper |
|---|---|---|---|
| data.name | digits | cifar10 | cifar10 |
| data.clients | 100 | 100 | 100 |
| data.partition | dirichlet | file | file |
| data.augment | none | crop_flip | crop_flip |
| model.name | mlp | cnn | cnn |
| client.lr | 0.1 | 0.01 | 0.01 |
| client.batch_size | 2 | 64 | 64 |
| client.epochs | 1 | 1 | 1 |
| client.weight_decay | 0 | 0.0004 | 0.0004 |
| engine.threads | 1 | 0 | 0 |
| rounds | 150 | 10000 | 10000 |
| cohort | 5 | 5 | 5 |
| evaluate_every | 10 | 100 | 100 |
| evaluate_last | 20 | 100 | 100 |
| seed | 1 | 1 | 1 |

| runs | keys | presets |
|---|---|---|
| fed* | data.alpha=* | cpu |
| fed* | data.split_file=* | gpu, paper |
| cifar100 * | data.name=cifar100 data.partition=dirichlet data.alpha=* rounds=20000 | gpu, paper |
| *fedsam*, *sam central | client.name=sam client.rho=* | cpu, gpu, paper |
| *fedasam*, asam central | client.name=asam client.rho=* | cpu, gpu, paper |
| *+swa* | average.name=swa | cpu, gpu, paper |
| *+swa* | average.cycle=5 average.lr_end=0.001 | cpu |
| * 10 a round | cohort=10 | cpu, gpu, paper |
| * 20 a round | cohort=20 | cpu, gpu, paper |
| * mixup | data.augment=mixup | cpu, gpu, paper |
| * mixup | data.mixup_after=none | cpu |
| * cutout | data.augment=cutout | cpu, gpu, paper |
| * cutout | data.cutout_size=4 data.cutout_after=none | cpu |
| * leak | data.fedsam_leak=true | gpu, paper |
| fedprox * | server.name=fedprox | cpu, gpu, paper |
| fedavgm * | server.name=fedavgm | cpu, gpu, paper |
| fedavgm * | server.beta=0.5 | cpu |
| scaffold * | server.name=scaffold | cpu, gpu, paper |
| scaffold * | data.alpha=* | cpu |
| scaffold * | data.split_file=* | gpu, paper |
| feddyn * | server.name=feddyn | cpu, gpu, paper |
| feddyn * | server.alpha=0.01 | cpu |
| fedgloss * | server.name=fedgloss client.name=sam client.rho=* | cpu, gpu, paper |
| * central | data.clients=1 cohort=1 data.partition=iid client.batch_size=64 evaluate_last=20 | cpu, gpu, paper |
| * central | rounds=200 evaluate_every=20 | gpu, paper |

A run's name says the method, alpha of the Dirichlet distribution (0: each client has one class), clients per round
where they are not 5, and what else is done. Figures are means over the last rounds: 100, in `cpu` 20. Radii: in `cpu`
SAM 0.2 and ASAM 0.7 at every alpha; for CIFAR-10 0.1 and 0.7 up to alpha 0.5, and 0.02 and 0.05 above and for central
runs; for CIFAR-100 0.02 at alpha 0 and 0.05 above, and 0.5; eta 0.2. FedGloSS has SAM clients, of radius 0.1 in `cpu`
and 0.15. Seeds: 3. Cells: `paper` has all six methods at all eight alphas of the authors' CIFAR-10 splits with 5
clients per round, and at 0, 0.05 and 100 with 10 and 20; CIFAR-100 at 0, 0.5 and 1000 with 5, 10 and 20. `gpu` and
`cpu` have fewer.

The CIFAR-10 splits are the authors' own, as arrays of positions `alpha_0.00`, ... in a file `fedsam_eccv2022.npz` in the
current directory; they are made of the file lists in their repository (debcaldarola/fedsam), where position 10100 is
missing and is given to the client that lacks one.

Deviations. `paper`: the paper's tables could not be reached, so no published figure is quoted. Settings are those of
the authors' script for CIFAR-10 at alpha 0 and 0.05; radii at alpha 100 and for CIFAR-100 are those of a later
comparison on the same splits (Official-FedGF), radii at other alphas the nearest of these. SWA on CIFAR-100 is set as
on CIFAR-10 (theirs is unknown). SWA averages at the end of each cycle of the learning rate, as the paper says; the
released code averages at its beginning (`average.capture=as-released`). The splits of CIFAR-100 are drawn anew from the
same distribution. Central runs last 200 epochs; the authors' number is unknown. Clients are sampled by the run's seed,
in the released code by the round alone. FedProx, FedAvgM, FedDyn and FedGloSS are at the values of their own papers;
AdaBest is left out, and so are Landmarks, Cityscapes and IDDA. mixup draws a weight for each sample. Eigenvalues are of
the loss on training images without augmentation, the largest algebraically.

The authors' files leak: their script saves training and test images under the same names, so that 1,006 of the training
images are replaced by test images, a tenth of the test set. `data.fedsam_leak=true` does the same; `gpu` and `paper`
have a run with it, so how much it changes is known only where these are run. If all of these images were learned by
heart, test accuracy a would become a + 0.1006 (1 - a).

`cpu`: an MLP of one hidden layer of 64 units on the handwritten digits of scikit-learn, 100 clients of 14 images, which
make 7 steps a round (8 in the paper); 150 rounds; SWA from round 113, cycles of 5, down to a hundredth of the learning
rate, as in the paper. alpha 0, 0.1, 0.5, 100; 10 and 20 clients per round, mixup and cutout for FedAvg and FedASAM + SWA
at alpha 0 alone; no CIFAR-100 and no leak. The learning rate, one for all methods as in the paper, and the radii were
chosen with seed 0, which is not among the seeds: of 0.1 and 0.2 the one at which FedAvg, FedSAM and FedASAM with the
best of three radii have the higher mean accuracy at alpha 0 and 100. FedAvg alone would do better at 0.3 (seed 0, alpha
0: 92.5 % in place of 91.4 %; FedSAM 92.9 %, FedASAM 93.6 % at 0.1). The numbers of FedProx (0.01 of 0.01, 0.1, 1),
FedAvgM (0.5 of 0.5, 0.9), FedDyn (0.01 of 0.01, 0.1, 1) and FedGloSS (beta 10 of 1, 10, 100) are the best at alpha 0
with that seed. Test accuracies are in steps of 1/397.

<!-- measured -->
<!-- end of measured -->
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fedsam.reproduce.base import Claim, Preset
from fedsam.reproduce.corrupted import CorruptedAccuracy, mean_accuracy
from fedsam.reproduce.figures import Panel
from fedsam.reproduce.flatness import Contours, Eigenvalues, Surface, rise
from fedsam.reproduce.results import Results
from fedsam.run import Run

TITLE = "Caldarola et al., Improving generalization in federated learning by seeking flat minima, ECCV 2022"
SEEDS: dict[Preset, int] = {"cpu": 3, "gpu": 3, "paper": 3}

ALPHAS: dict[Preset, tuple[float, ...]] = {
    "cpu": (0, 0.1, 0.5, 100),
    "gpu": (0, 0.5, 100),
    "paper": (0, 0.05, 0.1, 0.2, 0.5, 1, 10, 100),
}
ALPHAS_100: dict[Preset, tuple[float, ...]] = {"cpu": (), "gpu": (0,), "paper": (0, 0.5, 1000)}
MORE_CLIENTS: dict[Preset, tuple[float, ...]] = {"cpu": (0,), "gpu": (0,), "paper": (0, 0.05, 100)}
IMAGES: dict[Preset, int] = {"cpu": 1400, "gpu": 5000, "paper": 5000}

METHODS = ("fedavg", "fedsam", "fedasam", "fedavg+swa", "fedsam+swa", "fedasam+swa")
ENDS = ("fedavg", "fedasam+swa")
OTHERS = ("fedprox", "scaffold", "fedavgm", "feddyn")

ALL: dict[str, Any] = {"data.clients": 100, "client.epochs": 1, "cohort": 5, "seed": 1}
SMALL = {"data.name": "digits", "client.lr": 0.1, "client.batch_size": 2, "engine.threads": 1}
SMALL |= {"rounds": 150, "evaluate_every": 10, "evaluate_last": 20}
LARGE = {"data.name": "cifar10", "data.augment": "crop_flip", "model.name": "cnn"}
LARGE |= {"client.lr": 0.01, "client.batch_size": 64, "client.weight_decay": 4e-4}
LARGE |= {"rounds": 10_000, "evaluate_every": 100, "evaluate_last": 100}

Keys = dict[str, Any]


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
    """`gpu` and `paper`, with the authors' splits."""
    split = {"data.partition": "file", "data.split_file": f"fedsam_eccv2022.npz:alpha_{alpha:.2f}"}
    radii = (0.1, 0.7) if alpha <= 0.5 else (0.02, 0.05)
    return ALL | LARGE | split | client(method, *radii)


def cifar100(method: str, alpha: float) -> Keys:
    """`gpu` and `paper`."""
    own = {"data.name": "cifar100", "data.alpha": alpha, "rounds": 20_000}
    return ALL | LARGE | own | client(method, 0.05 if alpha else 0.02, 0.5)


def runs(preset: Preset) -> dict[str, Run]:
    """All cells of a preset."""
    small = preset == "cpu"
    of, few = digits if small else cifar10, METHODS if preset == "paper" else ENDS
    keys = {named(method, alpha): of(method, alpha) for alpha in ALPHAS[preset] for method in METHODS}
    for clients in (10, 20):
        more, some = {"cohort": clients}, f"{clients} a round"
        keys |= {named(m, alpha, some): of(m, alpha) | more for alpha in MORE_CLIENTS[preset] for m in few}
    for name, own in augments(small).items():
        keys |= {named(method, 0, name): of(method, 0) | own for method in few}
    for name, own in others(small).items():
        keys[named(name, 0)] = of("fedavg", 0) | {"server.name": name} | own
    for name in ("sgd", "sam", "asam"):
        own = of(f"fed{name}", 100) | {"data.clients": 1, "cohort": 1, "data.partition": "iid"}
        own |= {"client.batch_size": 64, "evaluate_last": 20} | ({} if small else {"rounds": 200, "evaluate_every": 20})
        keys[f"{name} central"] = {key: value for key, value in own.items() if key not in ("data.alpha", SPLIT)}
    for alpha in ALPHAS_100[preset]:
        keys |= {f"cifar100 {named(method, alpha)}": cifar100(method, alpha) for method in METHODS}
        for clients in (10, 20) if preset == "paper" else ():
            some = f"{clients} a round"
            keys |= {f"cifar100 {named(m, alpha, some)}": cifar100(m, alpha) | {"cohort": clients} for m in METHODS}
    if not small:
        keys |= {named(m, LEAKY, "leak"): of(m, LEAKY) | {"data.fedsam_leak": True} for m in ENDS}
    return {name: Run.from_keys(own) for name, own in keys.items()}


SPLIT = "data.split_file"
LEAKY = 100
"""The alpha at which the leak is measured, where training goes furthest."""


def augments(small: bool) -> dict[str, Keys]:
    """mixup and cutout; on digits, which are not to be mirrored, alone and with a hole of half their side."""
    mixup, cutout = {"data.augment": "mixup"}, {"data.augment": "cutout"}
    if small:
        mixup |= {"data.mixup_after": "none"}
        return {"mixup": mixup, "cutout": cutout | {"data.cutout_after": "none", "data.cutout_size": 4}}
    return {"mixup": mixup, "cutout": cutout}


def others(small: bool) -> dict[str, Keys]:
    """The methods compared with, by the names of their strategies."""
    own: dict[str, Keys] = {name: {} for name in OTHERS}
    if small:
        own |= {"fedavgm": {"server.beta": 0.5}, "feddyn": {"server.alpha": 0.01}}
    return own | {"fedgloss": {"client.name": "sam", "client.rho": 0.1 if small else 0.15}}


def accuracy(results: Results, name: str, seed: int) -> float:
    """Test accuracy, the mean over the last rounds."""
    return results.mean(name, seed, "test_accuracy", results.run(name, seed).evaluate_last)


def claims(preset: Preset) -> list[Claim]:
    """What the paper says."""
    eigenvalues, surface = Eigenvalues(IMAGES[preset]), Surface(IMAGES[preset])
    corrupted = CorruptedAccuracy()
    ours, fedavg = named("fedasam+swa", 0), named("fedavg", 0)

    def gain(text: str, place: str, better: str, *than: str) -> Claim:
        measured = f"accuracy of {better} less that of " + (
            than[0] if len(than) == 1 else f"the best of {listed(than)}"
        )
        return Claim(
            text,
            place,
            measured,
            lambda r, s: accuracy(r, better, s) - max(accuracy(r, name, s) for name in than),
            "above",
        )

    def largest(results: Results, name: str, seed: int) -> float:
        return float(results.measure(name, seed, eigenvalues)[0])

    def ratio(results: Results, name: str, seed: int) -> float:
        found = results.measure(name, seed, eigenvalues)
        return float(found[0] / found[4])

    def flatter(text: str, method: str) -> Claim:
        name = named(method, 0)
        measured = f"λ1 of {name} over that of {fedavg}"
        return Claim(
            text, "Section 3", measured, lambda r, s: largest(r, name, s) / largest(r, fedavg, s), "below", 1.0
        )

    def closed(results: Results, seed: int) -> float:
        low, high, got = (accuracy(results, name, seed) for name in (fedavg, "sgd central", ours))
        return (got - low) / (high - low) if high > low else float("nan")

    def robust(results: Results, seed: int) -> float:
        one, other = (mean_accuracy(results.measure(name, seed, corrupted)) for name in (ours, fedavg))
        return one - other

    found = [
        gain("Heterogeneity costs FedAvg accuracy", "abstract", named("fedavg", 100), fedavg),
        Claim(
            "The less alike the clients, the sharper the minimum that FedAvg ends in",
            "Section 3",
            f"λ1 of {fedavg} over that of {named('fedavg', 100)}",
            lambda r, s: largest(r, fedavg, s) / largest(r, named("fedavg", 100), s),
            "above",
            1.0,
        ),
        flatter("FedSAM ends in a flatter minimum", "fedsam"),
        flatter("FedASAM ends in a flatter minimum", "fedasam"),
        Claim(
            "With FedASAM and SWA the largest eigenvalue stands out less from the others",
            "Section 3",
            f"λ1/λ5 of {ours} over that of {fedavg}",
            lambda r, s: ratio(r, ours, s) / ratio(r, fedavg, s),
            "below",
            1.0,
        ),
        Claim(
            "The loss around the model of FedASAM and SWA is flatter",
            "Figure 1",
            f"mean rise of the training loss over a random plane around {ours}, over that around {fedavg}",
            lambda r, s: rise(r.measure(ours, s, surface)) / rise(r.measure(fedavg, s, surface)),
            "below",
            1.0,
        ),
        gain("FedSAM generalises better", "CIFAR-10 table, alpha 0", named("fedsam", 0), fedavg),
        gain("FedASAM generalises better", "CIFAR-10 table, alpha 0", named("fedasam", 0), fedavg),
        gain("SWA improves FedAvg", "CIFAR-10 table, alpha 0", named("fedavg+swa", 0), fedavg),
        gain("SWA improves FedASAM", "CIFAR-10 table, alpha 0", ours, named("fedasam", 0)),
        gain("FedASAM with SWA is better on heterogeneous clients", "abstract", ours, fedavg),
        gain("It is better on homogeneous clients", "abstract", named("fedasam+swa", 100), named("fedavg", 100)),
        gain("It is better with 10 clients a round", "CIFAR-10 table", f"{ours} 10 a round", f"{fedavg} 10 a round"),
        gain("It is better with 20 clients a round", "CIFAR-10 table", f"{ours} 20 a round", f"{fedavg} 20 a round"),
        Claim(
            "It helps to bridge the gap to centralised training",
            "abstract; that half is enough is our limit",
            f"share of the gap in accuracy between {fedavg} and sgd central closed by {ours}",
            closed,
            "above",
            0.5,
        ),
        gain("It is better than other methods", "comparison table", ours, *(named(name, 0) for name in OTHERS)),
        gain(
            "It gains more than mixup or cutout",
            "rows with mixup and cutout",
            ours,
            f"{fedavg} mixup",
            f"{fedavg} cutout",
        ),
        gain("It gains on top of mixup", "rows with mixup", f"{ours} mixup", f"{fedavg} mixup"),
        gain("It gains on top of cutout", "rows with cutout", f"{ours} cutout", f"{fedavg} cutout"),
        Claim(
            "It is more robust to corrupted test images",
            "corrupted CIFAR",
            f"accuracy of {ours} less that of {fedavg}, means over six corruptions at five severities",
            robust,
            "above",
        ),
    ]
    return found + ([] if preset == "cpu" else [*_larger(gain)])


def _larger(gain: Callable[..., Claim]) -> list[Claim]:
    leak, where = named("fedavg", LEAKY, "leak"), "the authors' files; not a claim of the paper"
    one, other = (f"cifar100 {named(method, 0)}" for method in ("fedasam+swa", "fedavg"))
    return [
        gain("It is better on CIFAR-100", "CIFAR-100 table, alpha 0", one, other),
        gain("The leak of the released files raises accuracy", where, leak, named("fedavg", LEAKY)),
    ]


def listed(names: Sequence[str]) -> str:
    """Names with commas between them."""
    return ", ".join(names)


def figures(preset: Preset) -> dict[str, Callable[[Results], list[Panel]]]:
    """The paper's figures, and its tables as figures, of our runs."""
    compared = [named(name, 0) for name in (*METHODS, *OTHERS, "fedgloss")]
    compared += [named(m, 0, name) for m in ENDS for name in ("mixup", "cutout")]
    compared += [f"{name} central" for name in ("sgd", "sam", "asam")]
    own: dict[str, Callable[[Results], list[Panel]]] = {
        "fig1-surfaces": lambda r: _surfaces(r, preset),
        "fig2-eigenvalues": lambda r: _eigenvalues(r, preset),
        "accuracy-alpha": lambda r: [_over(ALPHAS[preset], METHODS, "test accuracy", r, accuracy)],
        "accuracy-methods": lambda r: [_bars(compared, "test accuracy", r, accuracy)],
        "accuracy-clients": _clients,
        "curves": lambda r: [
            Panel(
                "round",
                f"test accuracy, alpha {alpha:g}",
                {m: r.curve(named(m, alpha), "test_accuracy") for m in METHODS},
            )
            for alpha in (0, 100)
        ],
        "corruptions": _corruptions,
    }
    if ALPHAS_100[preset]:
        own["accuracy-alpha-cifar100"] = lambda r: [
            _over(ALPHAS_100[preset], METHODS, "test accuracy", r, accuracy, "cifar100 ")
        ]
    return own


Value = Callable[[Results, str, int], float]


def _over(
    alphas: Sequence[float], methods: Sequence[str], label: str, results: Results, value: Value, before: str = ""
) -> Panel:
    lines = {
        method: (
            range(len(alphas)),
            [[value(results, before + named(method, alpha), seed) for alpha in alphas] for seed in results.seeds],
        )
        for method in methods
    }
    return Panel("alpha", label, lines, labels=tuple(f"{alpha:g}" for alpha in alphas))


def _bars(names: Sequence[str], label: str, results: Results, value: Value) -> Panel:
    rows = [[value(results, name, seed) for name in names] for seed in results.seeds]
    return Panel("", label, {"runs": (range(len(names)), rows)}, labels=tuple(names))


def _clients(results: Results) -> list[Panel]:
    lines = {}
    for method in ENDS:
        names = [named(method, 0), named(method, 0, "10 a round"), named(method, 0, "20 a round")]
        lines[method] = (5, 10, 20), [[accuracy(results, name, seed) for name in names] for seed in results.seeds]
    return [Panel("clients per round", "test accuracy, alpha 0", lines)]


def _eigenvalues(results: Results, preset: Preset) -> list[Panel]:
    measure, alphas = Eigenvalues(IMAGES[preset]), ALPHAS[preset]

    def values(r: Results, name: str, seed: int) -> list[float]:
        found: list[float] = r.measure(name, seed, measure)
        return found

    return [
        _over(alphas, METHODS, "λ1", results, lambda r, name, seed: values(r, name, seed)[0]),
        _over(alphas, METHODS, "λ1 / λ5", results, lambda r, n, s: values(r, n, s)[0] / values(r, n, s)[4]),
    ]


def _surfaces(results: Results, preset: Preset) -> list[Panel]:
    measure = Surface(IMAGES[preset])
    found = {m: [results.measure(named(m, 0), seed, measure) for seed in results.seeds] for m in ENDS}
    most = max(max(map(max, surface["loss"])) for surface in found["fedasam+swa"])
    return [Contours.of(f"{method} alpha 0", surfaces, most) for method, surfaces in found.items()]


def _corruptions(results: Results) -> list[Panel]:
    found = {m: [results.measure(named(m, 0), seed, CorruptedAccuracy()) for seed in results.seeds] for m in METHODS}
    kinds = tuple(found["fedavg"][0])
    by_severity = {
        m: ((1, 2, 3, 4, 5), [[sum(one[k][n] for k in kinds) / len(kinds) for n in range(5)] for one in each])
        for m, each in found.items()
    }
    by_kind = {m: (range(len(kinds)), [[sum(one[k]) / 5 for k in kinds] for one in each]) for m, each in found.items()}
    return [
        Panel("severity", "accuracy, mean over corruptions", by_severity),
        Panel("", "accuracy, mean over severities", by_kind, labels=kinds),
    ]
