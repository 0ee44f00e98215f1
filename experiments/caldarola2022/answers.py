"""What Caldarola et al. 2022 say, put to the runs."""

from __future__ import annotations

from collections.abc import Sequence

from fedsam.experiments.caldarola2022 import tasks
from fedsam.experiments.caldarola2022.settings import CLIENTS, IMAGES, LEAKY, OTHERS, PARTS, named
from fedsam.reproduce.base import Preset
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.corrupted import CorruptedAccuracy, drops, mean_accuracy
from fedsam.reproduce.flatness import Eigenvalues, Surface, ratio, rise
from fedsam.reproduce.results import Results

CORRUPTED = CorruptedAccuracy()
OURS, FEDAVG = named("fedasam+swa", 0), named("fedavg", 0)
UNKNOWN = ""  # of the place in the paper


def accuracy(results: Results, name: str, seed: int) -> float:
    """Test accuracy, the mean over the last rounds."""
    return results.mean(name, seed, "test_accuracy", results.run(name, seed).evaluate_last)


def clean(results: Results, name: str, seed: int) -> float:
    """Test accuracy of the model that is measured: after the last round."""
    return results.last(name, seed, "test_accuracy")


def robust(results: Results, name: str, seed: int) -> float:
    """Accuracy on corrupted test images, over corruptions and severities."""
    return mean_accuracy(results.measure(name, seed, CORRUPTED))


def drop(results: Results, name: str, seed: int) -> float:
    """What corruption costs of the accuracy on clean images."""
    return mean_accuracy(drops(results.measure(name, seed, CORRUPTED), clean(results, name, seed)))


def gain(text: str, place: str, better: str, *than: str) -> Claim:
    """A claim that one run has a higher accuracy than each of some others."""
    measured = f"accuracy of {better} less that of " + (than[0] if len(than) == 1 else f"the best of {listed(than)}")
    return Claim(
        text,
        place,
        measured,
        lambda r, s: accuracy(r, better, s) - max(accuracy(r, name, s) for name in than),
        "above",
    )


def claims(preset: Preset) -> list[Claim]:
    """What the paper says."""
    found = [
        gain("Heterogeneity costs FedAvg accuracy", "abstract", named("fedavg", 100), FEDAVG),
        *_flatness(preset),
        *_accuracies(),
        *_robustness(),
        gain(
            "The leak of the released files raises accuracy",
            "the authors' files; not a claim of the paper",
            named("fedavg", LEAKY, "leak"),
            named("fedavg", LEAKY),
        ),
    ]
    for part in PARTS[preset][1:]:
        one, other = (part.named(method, 0) for method in ("fedasam+swa", "fedavg"))
        found.append(gain(f"It is better on {part.title}", f"{part.title} table, alpha 0", one, other))
    return [*found, *tasks.claims(preset)]


def _flatness(preset: Preset) -> list[Claim]:
    eigenvalues, surface = Eigenvalues(IMAGES[preset]), Surface(IMAGES[preset])

    def largest(results: Results, name: str, seed: int) -> float:
        return float(results.measure(name, seed, eigenvalues)[0])

    def outstanding(results: Results, name: str, seed: int) -> float:
        return ratio(results.measure(name, seed, eigenvalues))

    def flatter(text: str, method: str) -> Claim:
        name = named(method, 0)
        measured = f"λ1 of {name} over that of {FEDAVG}"
        return Claim(text, UNKNOWN, measured, lambda r, s: largest(r, name, s) / largest(r, FEDAVG, s), "below", 1.0)

    return [
        Claim(
            "The less alike the clients, the sharper the minimum that FedAvg ends in",
            UNKNOWN,
            f"λ1 of {FEDAVG} over that of {named('fedavg', 100)}",
            lambda r, s: largest(r, FEDAVG, s) / largest(r, named("fedavg", 100), s),
            "above",
            1.0,
        ),
        flatter("FedSAM ends in a flatter minimum", "fedsam"),
        flatter("FedASAM ends in a flatter minimum", "fedasam"),
        Claim(
            "With FedASAM and SWA the largest eigenvalue stands out less from the others",
            UNKNOWN,
            f"λ1/λ5 of {OURS} over that of {FEDAVG}",
            lambda r, s: outstanding(r, OURS, s) / outstanding(r, FEDAVG, s),
            "below",
            1.0,
        ),
        Claim(
            "The loss around the model of FedASAM and SWA is flatter",
            "Figure 1",
            f"mean rise of the training loss over a random plane around {OURS}, over that around {FEDAVG}",
            lambda r, s: rise(r.measure(OURS, s, surface)) / rise(r.measure(FEDAVG, s, surface)),
            "below",
            1.0,
        ),
    ]


def _accuracies() -> list[Claim]:
    def closed(results: Results, seed: int) -> float:
        low, high, got = (accuracy(results, name, seed) for name in (FEDAVG, "sgd central", OURS))
        return (got - low) / (high - low) if high > low else float("nan")

    others, table, rows = [named(name, 0) for name in OTHERS], "CIFAR-10 table", "rows with mixup and cutout"
    return [
        gain("FedSAM generalises better", f"{table}, alpha 0", named("fedsam", 0), FEDAVG),
        gain("FedASAM generalises better", f"{table}, alpha 0", named("fedasam", 0), FEDAVG),
        gain("SWA improves FedAvg", f"{table}, alpha 0", named("fedavg+swa", 0), FEDAVG),
        gain("SWA improves FedASAM", f"{table}, alpha 0", OURS, named("fedasam", 0)),
        gain("FedASAM with SWA is better on heterogeneous clients", "abstract", OURS, FEDAVG),
        gain("It is better on homogeneous clients", "abstract", named("fedasam+swa", 100), named("fedavg", 100)),
        *(
            gain(f"It is better with {n} clients a round", table, f"{OURS} {n} a round", f"{FEDAVG} {n} a round")
            for n in CLIENTS[1:]
        ),
        Claim(
            "It helps to bridge the gap to centralised training",
            "abstract; that half is enough is our limit",
            f"share of the gap in accuracy between {FEDAVG} and sgd central closed by {OURS}",
            closed,
            "above",
            0.5,
        ),
        gain("It is better than other methods", "comparison table, with FedGloSS, which came later", OURS, *others),
        gain("It is better than those before it", "comparison table", OURS, *(n for n in others if "gloss" not in n)),
        gain("It gains more than mixup or cutout", rows, OURS, f"{FEDAVG} mixup", f"{FEDAVG} cutout"),
        gain("It gains on top of mixup", "rows with mixup", f"{OURS} mixup", f"{FEDAVG} mixup"),
        gain("It gains on top of cutout", "rows with cutout", f"{OURS} cutout", f"{FEDAVG} cutout"),
    ]


def _robustness() -> list[Claim]:
    over = "means over six corruptions at five severities"
    return [
        Claim(
            "It is more robust to corrupted test images",
            "corrupted CIFAR",
            f"accuracy of {OURS} less that of {FEDAVG}, {over}",
            lambda r, s: robust(r, OURS, s) - robust(r, FEDAVG, s),
            "above",
        ),
        Claim(
            "Corruption costs it less of its accuracy on clean images",
            "ours: the claim above is also met by being better on clean images",
            f"drop in accuracy from clean images of {OURS} less that of {FEDAVG}, {over}",
            lambda r, s: drop(r, OURS, s) - drop(r, FEDAVG, s),
            "below",
        ),
    ]


def listed(names: Sequence[str]) -> str:
    """Names with commas between them."""
    return ", ".join(names)
