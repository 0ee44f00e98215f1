"""How different clients are: their label distributions and their sizes.

Shapes: K clients, L classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def js_divergence(counts_KL: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence between each client's label distribution and that of all clients together, in bits.

        JS(p, q) = (KL(p, m) + KL(q, m)) / 2,   m = (p + q) / 2,   KL(p, m) = sum_l p_l log2(p_l / m_l)

    with p the client's distribution and q that of the sum of the clients. 0: the same; 1: no class in common. A client
    without examples has no distribution and is given 0.

    Source: Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37 (1991), section IV, with
    equal weights.

    Args:
        counts_KL: examples of each class at each client, int64.

    Returns:
        float64 [K], from 0 to 1.
    """
    p_KL = counts_KL / np.maximum(counts_KL.sum(axis=1, keepdims=True), 1)
    whole_L = counts_KL.sum(axis=0)
    q_KL = np.broadcast_to(whole_L / np.maximum(whole_L.sum(), 1), p_KL.shape)
    m_KL = (p_KL + q_KL) / 2
    js_K = (_terms(p_KL, m_KL).sum(axis=1) + _terms(q_KL, m_KL).sum(axis=1)) / 2
    return np.where(counts_KL.any(axis=1), np.clip(js_K, 0.0, 1.0), 0.0)


def _terms(p_KL: np.ndarray, m_KL: np.ndarray) -> np.ndarray:
    ratio_KL = np.divide(p_KL, m_KL, out=np.ones_like(m_KL), where=p_KL > 0)
    return np.asarray(p_KL * np.log2(ratio_KL))


def earth_movers_distance(counts_KL: np.ndarray) -> np.ndarray:
    """What Zhao et al. call the earth mover's distance between a client's labels and those of all clients together.

        EMD(p, q) = sum_l |p_l - q_l|

    with p the client's label distribution and q that of the sum of the clients. Where moving mass between any two
    classes costs 1, the earth mover's distance is half of it, the total variation distance; the paper leaves the half
    out, and so does this, so that numbers can be compared with the paper's. 0: the same; 2: no class in common. A
    client without examples has no distribution and is given 0.

    Source: Zhao et al., "Federated learning with non-IID data", 2018 (arXiv 1806.00582), section 3.1.

    Args:
        counts_KL: examples of each class at each client, int64.

    Returns:
        float64 [K], from 0 to 2.
    """
    p_KL = counts_KL / np.maximum(counts_KL.sum(axis=1, keepdims=True), 1)
    whole_L = counts_KL.sum(axis=0)
    distance_K = np.abs(p_KL - whole_L / np.maximum(whole_L.sum(), 1)).sum(axis=1)
    return np.where(counts_KL.any(axis=1), distance_K, 0.0)


def classes_per_client(counts_KL: np.ndarray) -> np.ndarray:
    """How many classes each client has at least one example of, int64 [K]."""
    return np.asarray(np.count_nonzero(counts_KL, axis=1))


def gini(sizes_K: np.ndarray) -> float:
    """Gini coefficient of client sizes: 0 all equal, (K - 1) / K one client has everything.

        G = sum_ij |n_i - n_j| / (2 K sum_i n_i) = sum_i (2 i - K - 1) n_(i) / (K sum_i n_i),   n_(1) <= ... <= n_(K)

    Source: Gini, "Variabilità e mutabilità", 1912. Where there are no examples it is 0.
    """
    clients, total = len(sizes_K), int(sizes_K.sum())
    if total == 0:
        return 0.0
    weight_K = 2 * np.arange(1, clients + 1) - clients - 1
    return int((weight_K * np.sort(sizes_K)).sum()) / (clients * total)


def describe(counts_KL: np.ndarray) -> dict[str, Any]:
    """What `fedsam partition` prints, as plain JSON types.

    Args:
        counts_KL: examples of each class at each client, int64.

    Returns:
        `clients`, `sizes`, `classes_per_client`; `js_mean` and `js_std` (bits), `emd_mean` and `emd_std`,
        `classes_mean` (mean and population standard deviation over the clients that have examples); and `gini`.
    """
    sizes_K = counts_KL.sum(axis=1)
    there = sizes_K > 0
    classes_K = classes_per_client(counts_KL)
    js_K, emd_K = js_divergence(counts_KL)[there], earth_movers_distance(counts_KL)[there]
    some = bool(there.any())
    return {
        "clients": len(counts_KL),
        "sizes": sizes_K.tolist(),
        "classes_per_client": classes_K.tolist(),
        "js_mean": float(js_K.mean()) if some else 0.0,
        "js_std": float(js_K.std()) if some else 0.0,
        "emd_mean": float(emd_K.mean()) if some else 0.0,
        "emd_std": float(emd_K.std()) if some else 0.0,
        "classes_mean": float(classes_K[there].mean()) if some else 0.0,
        "gini": gini(sizes_K),
    }
