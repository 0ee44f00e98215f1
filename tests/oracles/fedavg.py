"""FedAvg: McMahan et al., AISTATS 2017, algorithm 1; with a server learning rate, Reddi et al., ICLR 2021, algorithm 1.

w ← w + lr · Σ_k (n_k / Σ_j n_j) (w_k − w)
"""

from __future__ import annotations


def average(clients: list[list[float]], examples: list[int], sent: list[float], lr: float = 1.0) -> list[float]:
    """The next global model, number by number."""
    total = sum(examples)
    result = []
    for p in range(len(sent)):
        change = 0.0
        for k in range(len(clients)):
            change += examples[k] / total * (clients[k][p] - sent[p])
        result.append(sent[p] + lr * change)
    return result
