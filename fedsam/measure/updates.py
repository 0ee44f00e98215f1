"""How much the clients of a round agree: norms, angles, drift and diversity of their updates.

Shapes: K clients of the round, P parameters, C of them in a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fedsam.measure.base import Diagnostics, Updates

ELEMENTS = 2**23  # of a chunk of updates in float64: 64 MiB


class UpdateDiagnostics(Diagnostics):
    """With delta_k the update of client k of K, p_k its share of the examples, and the mean Δ = Σ_k p_k delta_k:

        norm_mean, norm_std   mean and standard deviation (with 1 / K) of ‖delta_k‖ over the clients
        mean_norm             ‖Δ‖
        cosine                mean of ⟨delta_j, delta_k⟩ / (‖delta_j‖ ‖delta_k‖) over all pairs j < k
        drift                 mean of ‖delta_k − Δ‖ over the clients
        diversity             Σ_k p_k ‖delta_k‖² / ‖Δ‖²
        negative              share of the clients with ⟨delta_k, Δ⟩ < 0
        clients               K

    p_k weighs in Δ and in the sum of `diversity`, as in FedAvg's step; means and shares over clients count each client
    alike. The model's update is Δ only where the strategy takes it as it is.

    `diversity` is 1 where all updates are equal, and for orthogonal ones of the same norm and weight K. It is the
    squared dissimilarity B² of Li et al., MLSys 2020, definition 3, with updates in place of gradients; for equal
    weights it is K times the gradient diversity of Yin et al., AISTATS 2018, definition 1.

    Undefined numbers are None: a cosine without two updates that are not zero (pairs with a zero one are left out), a
    diversity where Δ is zero, and everything where nobody delivered. Computed in float64 on the device that holds the
    updates, in chunks of parameters: K² P multiplications, and one transfer; until then K P numbers are held there.
    """

    def measure(self, updates: Updates) -> dict[str, Any]:
        """The numbers above, by name."""
        if not updates.ids:
            names = ("norm_mean", "norm_std", "mean_norm", "cosine", "drift", "diversity", "negative")
            return {**dict.fromkeys(names), "clients": 0}
        with torch.no_grad():
            found = torch.stack(_numbers(updates)).tolist()
        norm_mean, norm_std, mean_square, cosine, pairs, drift, power, negative = found
        return {
            "norm_mean": norm_mean,
            "norm_std": norm_std,
            "mean_norm": mean_square**0.5,
            "cosine": cosine / pairs if pairs else None,
            "drift": drift,
            "diversity": power / mean_square if mean_square else None,
            "negative": negative,
            "clients": len(updates.ids),
        }


def _numbers(updates: Updates) -> list[Tensor]:
    """Norms' mean and deviation, ‖Δ‖², the sum of cosines and its pairs, drift, Σ_k p_k ‖delta_k‖², the negatives."""
    weight_K = updates.shares
    clients, parameters = len(updates.ids), updates.blocks[0].shape[1]
    gram_KK, inner_K, away_K = weight_K.new_zeros(clients, clients), 0 * weight_K, 0 * weight_K
    mean_square = weight_K.new_zeros(())
    for begin in range(0, parameters, chunk := max(1, ELEMENTS // clients)):
        delta_KC = torch.cat([block[:, begin : begin + chunk].double() for block in updates.blocks])
        mean_C = torch.mv(delta_KC.T, weight_K)
        gram_KK += delta_KC @ delta_KC.T
        inner_K += torch.mv(delta_KC, mean_C)
        mean_square += mean_C.square().sum()
        away_K += delta_KC.sub_(mean_C).square().sum(dim=1)  # not from the Gram matrix, where it would cancel
    square_K = gram_KK.diagonal()
    norm_K = square_K.sqrt()
    there_K = (norm_K > 0).double()
    unit_K = there_K / torch.where(norm_K > 0, norm_K, 1.0)
    above_KK = torch.ones_like(gram_KK).triu(1)
    cosine = (gram_KK * torch.outer(unit_K, unit_K) * above_KK).sum()
    pairs = (torch.outer(there_K, there_K) * above_KK).sum()
    norms = norm_K.mean(), norm_K.std(correction=0)
    rest = away_K.sqrt().mean(), torch.dot(weight_K, square_K), (inner_K < 0).double().mean()
    return [*norms, mean_square, cosine, pairs, *rest]
