"""The federated oracles against one client written out, where no limit reaches a term."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles import adaptive, fedcm, fedgloss, fedlesam, fedmoswa, fedprox, fedsmoo, fedswa, fedwmsam
from tests.oracles.federated import norm
from tests.oracles.quadratics import Quadratics

ONE = Quadratics(clients=1, participants=1, steps=1)
TWO = Quadratics(clients=1, participants=1, steps=2)


def same(left: list[Tensor], right: list[Tensor]) -> None:
    torch.testing.assert_close(torch.stack(left), torch.stack(right), rtol=1e-10, atol=1e-11)


def g(round: int, w: Tensor) -> Tensor:
    return ONE.batches(round, 0)[0](w)


def test_the_second_step_by_hand() -> None:
    w0, (g0, g1) = TWO.theta, TWO.batches(0, 0)
    w1 = w0 - 0.1 * g0(w0)
    same(fedprox.run(TWO, 1, 0.1, mu=0.7), [w1 - 0.1 * (g1(w1) + 0.7 * (w1 - w0))])
    same(fedswa.run(TWO, 1, 0.1, rho_lr=0.2, alpha=2), [w0 + 2 * (w1 - 0.06 * g1(w1) - w0)])


def test_the_second_round_by_hand() -> None:
    w0, (w1, w2) = ONE.theta, fedlesam.run(ONE, 2, 0.1, rho=0.5)
    same([w1, w2], [w0 - 0.1 * g(0, w0), w1 - 0.1 * g(1, w1 + 0.5 * (w0 - w1) / norm(w0 - w1))])
    w1, w2 = fedcm.run(ONE, 2, 0.1, alpha=0.4)
    same([w1, w2], [w0 - 0.04 * g(0, w0), w1 - 0.1 * (0.4 * g(1, w1) + 0.6 * 0.4 * g(0, w0))])


def test_fedmoswa_by_hand() -> None:
    w0, (w1, w2) = TWO.theta, fedmoswa.run(TWO, 2, 0.1, rho_lr=0.5, alpha=1, gamma=0.2)
    c, (g0, g1) = (w0 - w1) / 0.175, TWO.batches(1, 0)
    half = w1 - 0.1 * (g0(w1) - c + 0.2 * c)
    same([w2], [half - 0.075 * (g1(half) - c + 0.2 * c)])


def test_fedyogi_by_hand() -> None:
    for tau in (0.01, 10):  # v grows, v shrinks
        delta = -g(0, ONE.theta)
        v = tau**2 + (0.01 if tau < 1 else -0.01) * delta**2
        same(adaptive.run(ONE, 1, 1, method="fedyogi", tau=tau), [ONE.theta + 0.1 * delta / (v.sqrt() + tau)])


def test_fedgloss_by_hand() -> None:
    """Alone and in one step of u: −β σ is the sum of all u so far, σ_k that of −u/β."""
    w0, (w1, w2) = ONE.theta, fedgloss.run(ONE, 2, 0.1, rho=0.5, beta=4)
    u1 = -0.1 * g(0, w0)
    u2 = -0.1 * (g(1, w1 - 0.5 * u1 / norm(u1)) + u1 / 4)
    same([w1, w2], [w0 + 2 * u1, w1 + u2 + (u1 + u2)])


def test_fedsmoo_by_hand() -> None:
    """Alone and in one step of u: μ = s = the last ε, so it climbs along g − 2 ε; h is the sum of all u."""
    w, h, eps = ONE.theta, torch.zeros(4).double(), torch.zeros(4).double()
    for r, model in enumerate(fedsmoo.run(ONE, 4, 0.1, rho=0.5, lam=0.7)):
        along = g(r, w) - 2 * eps
        eps = 0.5 * along / norm(along)
        u = -0.1 * (g(r, w + eps) + 0.7 * h)
        h = h + u
        w = w + u + h
        same([model], [w])


def test_fedwmsam_by_hand() -> None:
    """Alone, c = c_k; D is the mean of the last round's v."""
    w, D = TWO.theta, torch.zeros(4).double()
    for r, model in enumerate(fedwmsam.run(TWO, 3, 0.1, rho=0.5, alpha=0.4, lam=0)):
        g0, g1 = TWO.batches(r, 0)
        v0 = 0.4 * g0(w) + 0.6 * D
        climb = (w + D) - (w - 0.1 * v0)
        v1 = 0.4 * g1(w - 0.1 * v0 + 0.5 * climb / norm(climb)) + 0.6 * D
        w = w - 0.1 * (v0 + v1)
        D = (v0 + v1) / 2
        same([model], [w])


def test_fedwmsam_weighs_by_agreement() -> None:
    """λ = 1: α is 0.4, then 0.1 as there was no momentum to compare, then what each reading makes of an update that
    agrees with it.
    """
    for cosine, alpha in {"upload": 0.1, "released": 0.1, "pseudo-gradient": 0.9, "momentum": 0.9}.items():
        w1, w2, w3 = fedwmsam.run(TWO, 3, 0.01, alpha=0.4, lam=1, cosine=cosine)
        g0, g1 = TWO.batches(2, 0)
        D = (w1 - w2) / 0.02
        half = w2 - 0.01 * (alpha * g0(w2) + (1 - alpha) * D)
        same([w3], [half - 0.01 * (alpha * g1(half) + (1 - alpha) * D)])
