"""FedWMSAM: Li et al., NeurIPS 2025 (arXiv 2511.22080), from the poster's and README's equations.

Client:  Δ_r^k = Δ_r + α_r/(1 − α_r) c_k;
step b:  δ = (x_r + b Δ_r^k) − x_b;   g = ∇L_B(x_b + ρ δ/‖δ‖);   v = α_r g + (1 − α_r) Δ_r^k;   x_{b+1} = x_b − lr v.
Server:  α_{r+1} = (1 − λ) α_r + λ clip(cos, 0.1, 0.9).

These leave the following open, or contradict each other. Assumed here:
 1. Δ_r has the gradient's sign, as v needs it, and is per local step, as in FedCM: Δ_{r+1} = − Σ p_k Δ_k/(K_k lr), 0 at
    first, Δ_k = w_k − w_sent. (Poster: Δ_{r+1} = 1/(η_l |P|) Σ Δ_k with x_{r+1} = x_r − η_g Δ_{r+1}: of the wrong sign
    for its own Δ_k = x_B − x_r. Release: as here, by plain means and the first client's K.)
 2. Server: w ← w + η_g Σ p_k Δ_k.
 3. The c_k of Δ_r^k is the correction c − c_k, as released; with the bare c_k the client's gradient would count twice.
 4. c_k and c are SCAFFOLD's: c_k⁺ = c_k − c + (w_sent − w_k)/(K_k lr), c ← c + (1/N) Σ_S (c_k⁺ − c_k), 0 at first; as
    released. (Poster: the same c_k⁺, but c ← c + (1/(η_l B |P|)) Σ Δ_k.)
 5. b counts from 0: δ = 0 and no perturbation at the first step of a round; δ/‖δ‖ is δ/(‖δ‖ + 1e-16).
 6. The perturbation is + ρ δ/‖δ‖ as written, b Δ_r^k without a learning rate. (Release: the minus sign.)
 7. cos is the plain mean over S of a client's cosine with the Δ_r it was sent; 0 if either vector is 0. Of what,
    `cosine` says. The poster: sim(Δ_r, Δ_r^k), and its Δ_r^k names both the upload and the personalised momentum:
    "upload" cos(Δ_r, w_k − w_sent); "released" 1 + that; "pseudo-gradient" cos(Δ_r, w_sent − w_k), the upload in the
    gradient's sign; "momentum" cos(Δ_r, Δ_r^k), the personalised momentum. Clients that agree give about −1, 0, 1
    and 1. The text wants momentum kept, so a small α, where they agree; only "released" has it so and lets α grow
    (to 0.9 where they are at right angles) as agreement fades.
 8. α_0 = 0.1 and λ = 0.01, as released; α_r is the same for all clients of a round, clip to the closed [0.1, 0.9].
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tests.oracles.federated import Problem, norm, shares, zeros


def cos(u: Tensor, v: Tensor) -> float:
    """⟨u, v⟩/(‖u‖‖v‖), 0 if either is 0."""
    if norm(u) == 0 or norm(v) == 0:
        return 0.0
    return float((u * v).sum()) / (norm(u) * norm(v))


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    eta_g: float = 1.0,
    *,
    alpha: float = 0.1,
    lam: float = 0.01,
    cosine: Literal["upload", "released", "pseudo-gradient", "momentum"] = "upload",
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    D = torch.zeros_like(theta)  # Δ_r
    c, c_k = torch.zeros_like(theta), zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        D_next = torch.zeros_like(theta)
        change = torch.zeros_like(theta)
        cosines = []
        for k in cohort:
            D_k = D + alpha / (1 - alpha) * (c - c_k[k])
            x, buffer = theta.clone(), torch.zeros_like(theta)
            batches = problem.batches(r, k)
            for b in range(len(batches)):
                direction = (theta + b * D_k) - x
                g = batches[b](x + rho * direction / (norm(direction) + 1e-16))
                v = alpha * g + (1 - alpha) * D_k
                buffer = momentum * buffer + v + weight_decay * x
                x = x - lr * buffer
            upload = x - theta

            if cosine == "upload":
                cosines.append(cos(D, upload))
            elif cosine == "released":
                cosines.append(0.0 if norm(D) == 0 or norm(upload) == 0 else 1 + cos(D, upload))
            elif cosine == "pseudo-gradient":
                cosines.append(cos(D, -upload))
            else:
                cosines.append(cos(D, D_k))

            c_plus = c_k[k] - c - upload / (len(batches) * lr)
            change = change + (c_plus - c_k[k])
            c_k[k] = c_plus
            delta = delta + p[k] * upload
            D_next = D_next - p[k] * upload / (len(batches) * lr)

        theta = theta + eta_g * delta
        D = D_next
        c = c + change / problem.clients
        mean = sum(cosines) / len(cosines)
        alpha = (1 - lam) * alpha + lam * min(max(mean, 0.1), 0.9)
        models.append(theta.clone())
    return models
