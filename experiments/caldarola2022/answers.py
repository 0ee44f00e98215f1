"""What Caldarola et al. 2022 say, put to the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.caldarola2022.settings import IMAGES, LEAKY, OTHERS, named
from fedsam.reproduce.base import Claim, Preset
from fedsam.reproduce.corrupted import CorruptedAccuracy, mean_accuracy
from fedsam.reproduce.flatness import Eigenvalues, Surface, rise
from fedsam.reproduce.results import Results


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
