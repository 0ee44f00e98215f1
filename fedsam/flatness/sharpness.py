"""Sharpness: how much the loss rises around a model, in a ball, under noise, and between a federation's models.

Shapes: P parameters, K clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedsam.flatness.draws import normal
from fedsam.flatness.landscape import Landscape
from fedsam.optim.base import Perturbed
from fedsam.params import Layout
from fedsam.rng import stream

STRIDE = 2.5
"""Length of all steps of an ascent together, in radii."""


@dataclass(frozen=True)
class Worst:
    """The highest loss that was found in a ball.

    Args:
        loss: there.
        sharpness: that loss minus the loss at the centre.
        epsilon_P: from the centre to there.
    """

    loss: float
    sharpness: float
    epsilon_P: Tensor


def scale_squared(theta_P: Tensor, ascent: Perturbed, layout: Layout) -> Tensor:
    """T_w², [P], of an optimiser whose perturbation is ε(g) = ρ T_w² g / ‖T_w g‖₂, for any ρ > 0.

    With g = 1 it is u = ε / ρ = T_w² / ‖T_w‖₂, whose entries sum to ‖T_w‖₂; so T_w² = u · Σ u. It is 1 for SAM, and
    what ASAM's own code makes of the weights for ASAM.
    """
    share_P = ascent.replace(rho=1.0).perturbation(theta_P, torch.ones_like(theta_P), layout)
    return share_P * share_P.sum()


def worst_in_ball(landscape: Landscape, theta_P: Tensor, ascent: Perturbed, rho: float, steps: int = 5) -> Worst:
    """max L(w + ε) over ‖T_w⁻¹ ε‖₂ ≤ ρ, from below, by projected normalised gradient ascent:

        ε ← Π(ε + s T_w² ∇L(w + ε) / ‖T_w ∇L(w + ε)‖₂),   s = min(1, 2.5 / steps) · ρ

    from ε = 0, where T_w is that of `ascent` at w (1 for SAM: Foret et al., ICLR 2021, eq. 1; Kwon et al., ICML 2021,
    section 4, for ASAM) and Π shortens what lies outside to the boundary. The highest loss after any step counts,
    without that at w. With one step it is the loss at the optimiser's own perturbation; where this lies lower than w,
    the sharpness is negative. Costs `steps` gradients.

    Args:
        ascent: gives the ball; its own radius is not used.
        rho: ρ, the radius.
    """
    epsilon_P = torch.zeros_like(theta_P)
    if rho == 0:
        return Worst(landscape.loss(theta_P), 0.0, epsilon_P)
    layout = landscape.context.layout
    scale_P = scale_squared(theta_P, ascent, layout)
    # a weight that is not perturbed adds nothing to the length
    within_P = torch.where(scale_P > 0, scale_P, torch.inf)
    stride = ascent.replace(rho=min(1.0, STRIDE / steps) * rho)
    before, gradient_P = landscape.loss_and_gradient(theta_P)
    best = Worst(-np.inf, -np.inf, epsilon_P)
    for step in range(steps):
        epsilon_P = epsilon_P + stride.perturbation(theta_P, gradient_P, layout)
        length = torch.sqrt((epsilon_P.square() / within_P).sum())
        if step > 0:  # the first step is not longer than ρ
            epsilon_P = epsilon_P * torch.clamp(rho / length, max=1.0)
        if step < steps - 1:
            loss, gradient_P = landscape.loss_and_gradient(theta_P + epsilon_P)
        else:
            loss = landscape.loss(theta_P + epsilon_P)
        if step == 0 or loss > best.loss:  # a loss that is not a number stays
            best = Worst(loss, loss - before, epsilon_P)
    return best


def m_sharpness(
    landscape: Landscape, theta_P: Tensor, ascent: Perturbed, rho: float, m: int, steps: int = 1, seed: int = 0
) -> float:
    """Σ_B |B| / N · (max L_B(w + ε) − L_B(w)): each mini-batch of m examples has its own worst point (Foret et al.,
    ICLR 2021, section 4.1; Andriushchenko and Flammarion, ICML 2022).

    Args:
        ascent, rho, steps: as for `worst_in_ball`.
        m: examples of a mini-batch; the last one may be smaller.
        seed: keys the mini-batches.
    """
    order = stream(seed, "m-sharpness").permutation(landscape.examples)
    total = 0.0
    for begin in range(0, landscape.examples, m):
        part = landscape.part(order[begin : begin + m])
        share = part.examples / landscape.examples
        total += share * worst_in_ball(part, theta_P, ascent, rho, steps).sharpness
        landscape.evaluations += share * part.evaluations
    return total


@dataclass(frozen=True)
class Noise:
    """Loss and headline metric over draws of weight noise: means and standard deviations (0 of a single draw)."""

    loss: float
    loss_std: float
    value: float
    value_std: float


def noise(
    landscape: Landscape, theta_P: Tensor, sigma: float, draws: int = 10, relative: bool = False, seed: int = 0
) -> Noise:
    """Loss and metric at w + σ e, or at w + σ |w| e if `relative`, e standard normal: robustness to noise in the
    weights (Mordido et al., Lookbehind-SAM, ICML 2024, section 4.4). For small σ the mean loss rises by
    σ² / 2 · tr ∇²L(w) in the first case.

    Args:
        sigma: σ; the same draws e serve every σ.
    """
    scale_P = sigma * (theta_P.abs() if relative else torch.ones_like(theta_P))
    found = [
        landscape.loss_and_value(theta_P + scale_P * normal(theta_P, seed, "weight noise", draw))
        for draw in range(draws)
    ]
    loss_D, value_D = np.array(found).T
    spread = 1 if draws > 1 else 0
    return Noise(
        float(loss_D.mean()),
        float(loss_D.std(ddof=spread)),
        float(value_D.mean()),
        float(value_D.std(ddof=spread)),
    )


@dataclass(frozen=True)
class ClientFlatness:
    """One client beside the global model.

    Args:
        distance: ‖θ_k − θ‖₂.
        perturbed_distance: ‖(θ_k + ε_k(θ_k)) − (θ + ε(θ))‖₂.
        sharpness_own: of θ_k on the client's own loss.
        sharpness_global: of θ_k on the global loss.
    """

    distance: float
    perturbed_distance: float
    sharpness_own: float
    sharpness_global: float


@dataclass(frozen=True)
class Flatness:
    """The clients, and the sharpness of the global model on the global loss."""

    clients: list[ClientFlatness]
    global_sharpness: float


def flatness_distance(
    landscape: Landscape,
    theta_P: Tensor,
    thetas: Sequence[Tensor],
    landscapes: Sequence[Landscape],
    ascent: Perturbed,
    rho: float,
    steps: int = 1,
) -> Flatness:
    """How far clients move from the global model, and how far apart the points are at which a sharpness-aware step
    takes its gradient: for client k, with L_k its own loss, L the global one, and

        ε(θ) = argmax L(θ + ε),   ε_k(θ_k) = argmax L_k(θ_k + ε),   both over ‖T⁻¹ ε‖₂ ≤ ρ, as `worst_in_ball` finds it,

    distance ‖θ_k − θ‖₂ and perturbed distance ‖(θ_k + ε_k(θ_k)) − (θ + ε(θ))‖₂. Beside them the sharpness of each
    client's model on both losses: a client can be flat where it trained and sharp for the federation.

    "Flatness distance" is our reading of the distance between local and global flat minima of which work on federated
    SAM speaks; no paper's formula is followed.

    Args:
        landscape: the global loss, with the statistics of batch normalisation of the global model.
        theta_P: θ.
        thetas: θ_k, [P] of each client.
        landscapes: L_k of each, with its own statistics.
        ascent, rho, steps: of the ball, as for `worst_in_ball`.
    """
    centre = worst_in_ball(landscape, theta_P, ascent, rho, steps)
    clients = []
    for client_P, own in zip(thetas, landscapes, strict=True):
        worst = worst_in_ball(own, client_P, ascent, rho, steps)
        # on the global loss, too, the client's model normalises by its own statistics
        everywhere = landscape.given(*own.statistics)
        away_P = client_P - theta_P
        clients.append(
            ClientFlatness(
                float(torch.linalg.vector_norm(away_P)),
                float(torch.linalg.vector_norm(away_P + (worst.epsilon_P - centre.epsilon_P))),
                worst.sharpness,
                worst_in_ball(everywhere, client_P, ascent, rho, steps).sharpness,
            )
        )
        landscape.evaluations += everywhere.evaluations
    return Flatness(clients, centre.sharpness)
