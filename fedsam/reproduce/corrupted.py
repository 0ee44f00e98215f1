"""The accuracy of a run's model on corrupted test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedsam.data.images.corruptions import CORRUPTIONS, SEVERITIES
from fedsam.data.images.spec import ImageSpec
from fedsam.flatness.landscape import Landscape
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.reproduce.measurements import Measure
from fedsam.rng import stream


@dataclass(frozen=True)
class CorruptedAccuracy(Measure):
    """Accuracy on the first test images under each corruption of `fedsam.data.images.corruptions`, severities 1 to 5.

    What is random is keyed by the corruption and the severity alone, so that all models see the same images.

    Args:
        images: how many; None = all.
    """

    images: int | None = None

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> dict[str, list[float]]:
        """By corruption, a number a severity."""
        test, spec = loaded.federation.test, loaded.federation.spec
        assert isinstance(spec, ImageSpec)  # its data set is one of images
        scale = spec.scale
        clean_NHWC, labels_N = test.inputs[: self.images] / scale, test.targets[: self.images]
        found: dict[str, list[float]] = {}
        for name, corrupt in CORRUPTIONS.items():
            found[name] = []
            for severity in SEVERITIES:
                rng = stream(0, f"corruption {name}", round=severity)
                pixels_NHWC = torch.from_numpy(scale * corrupt(clean_NHWC, severity, rng))
                landscape = Landscape(loaded.context, pixels_NHWC, labels_N, loaded.served.statistics)
                found[name].append(landscape.loss_and_value(loaded.served.theta_P)[1])
        return found


def mean_accuracy(found: dict[str, list[float]]) -> float:
    """Over corruptions and severities, all with the same weight."""
    return float(np.mean(list(found.values())))


def drops(found: dict[str, list[float]], clean: float) -> dict[str, list[float]]:
    """By corruption and severity, the accuracy on clean images less that on corrupted ones."""
    return {name: [clean - accuracy for accuracy in each] for name, each in found.items()}
