"""Sharpness in the ball of SAM or ASAM, also of a network that is written differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from fedsam.errors import InputError
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.flatness.sharpness import worst_in_ball
from fedsam.optim.asam import ASAM
from fedsam.optim.sam import SAM
from fedsam.params import Layout
from fedsam.reproduce.measurements import Measure


@dataclass(frozen=True)
class BallSharpness(Measure):
    """max L(w + ε) − L(w) over ‖T_w⁻¹ ε‖₂ ≤ ρ, with T_w of `ascent` (1 for SAM; the adaptive sharpness of Kwon et al.,
    ICML 2021, for ASAM), as `fedsam.flatness.sharpness.worst_in_ball` finds it.

    Args:
        ascent: gives T_w; its radius is ρ.
    """

    ascent: SAM | ASAM
    images: int = 1000
    steps: int = 5

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> float:
        """The sharpness."""
        landscape = loaded.landscape(self.images, loaded.served)
        return worst_in_ball(landscape, loaded.served.theta_P, self.ascent, self.ascent.rho, self.steps).sharpness


@dataclass(frozen=True)
class RescaledSharpness(Measure):
    """`BallSharpness` of A_c w for each factor c: tensors that match `up` are multiplied by c, those that match `down`
    by 1/c. Where `up` are all weights and biases that enter a layer of ReLU, and `down` the weights that read it, the
    network computes the same function (relu(c x) / c = relu(x), c > 0), and so has the same loss and the same
    generalisation, whatever its sharpness (Dinh et al., ICML 2017, section 4; Kwon et al., ICML 2021).

    Args:
        up, down: shell patterns of names of tensors.
        factors: each c.
    """

    ascent: SAM | ASAM
    up: tuple[str, ...]
    down: tuple[str, ...]
    factors: tuple[float, ...]
    images: int = 1000
    steps: int = 5

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> dict[str, list[float]]:
        """`loss` of A_c w and `sharpness`, a number for each factor."""
        landscape, layout = loaded.landscape(self.images, loaded.served), loaded.context.layout
        rho, losses, found = self.ascent.rho, [], []
        for factor in self.factors:
            theta_P = rescaled(loaded.served.theta_P, layout, self.up, self.down, factor)
            losses.append(landscape.loss(theta_P))
            found.append(worst_in_ball(landscape, theta_P, self.ascent, rho, self.steps).sharpness)
        return {"loss": losses, "sharpness": found}


def rescaled(theta_P: Tensor, layout: Layout, up: Sequence[str], down: Sequence[str], factor: float) -> Tensor:
    """A_c w, [P]: tensors that match `up` times c, tensors that match `down` times 1/c, the others as they are.

    Args:
        factor: c.

    Raises:
        InputError: a pattern matches no tensor.
    """
    for pattern in (*up, *down):
        if not any(fnmatchcase(name, pattern) for name in layout.names):
            raise InputError("", InputError.ABSENT, f"no tensor of the model has a name like {pattern!r}")

    def matching(patterns: Sequence[str]) -> Tensor:
        return layout.mask(lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)).to(theta_P.device)

    one_P = torch.where(matching(up), theta_P * factor, theta_P)
    return torch.where(matching(down), one_P / factor, one_P)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's τ: over all pairs (i, j) of models, the share that both numbers rank alike less the share that they
    rank differently; with ties τ-b (Kendall, Biometrika 1945). Not a number where one of them is constant.
    """
    from scipy.stats import kendalltau

    return float(kendalltau(first, second).statistic)
