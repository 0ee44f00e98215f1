"""The federated oracles against one client written out, where no limit reaches a term."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles import (
    adabest,
    adaptive,
    fedacg,
    fedcm,
    fedexp,
    fedgf,
    fedgloss,
    fedlesam,
    fedmoswa,
    fednova,
    fednsam,
    fedprox,
    fedsmoo,
    fedswa,
    fedwmsam,
)
from tests.oracles.federated import Gradient, norm
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


def test_fedgloss_warms_up_by_hand() -> None:
    """As above, where the second of four rounds has a quarter of the way from 0.1 to 0.5."""
    w0, (w1, w2) = ONE.theta, fedgloss.run(ONE, 2, 0.1, rho=0.5, beta=4, rho_0=0.1, T_s=4)
    u1 = -0.1 * g(0, w0)
    u2 = -0.1 * (g(1, w1 - 0.2 * u1 / norm(u1)) + u1 / 4)
    same([w1, w2], [w0 + 2 * u1, w1 + u2 + (u1 + u2)])


def test_look_ahead_by_hand() -> None:
    w0, (w1, w2, w3) = TWO.theta, fedacg.run(TWO, 3, 0.1, lam=0.6, beta=0.7)
    m, w = torch.zeros(4).double(), w0
    for r, model in enumerate([w1, w2, w3]):
        (g0, g1), ahead = TWO.batches(r, 0), w + 0.6 * m
        half = ahead - 0.1 * g0(ahead)
        end = half - 0.1 * (g1(half) + 0.7 * (half - ahead))
        m, w = end - w, end  # alone, w + m is the client's model
        same([model], [w])


def test_fednsam_as_released_by_hand() -> None:
    w0, (w1, w2) = ONE.theta, fednsam.run(ONE, 2, 0.1, gamma=0.6, accumulate=False)
    u1 = -0.1 * g(0, w0)
    same([w1, w2], [w0 + u1, w1 - 0.1 * 1.6 * g(1, w1 + 0.6 * u1)])


def test_fedgf_by_hand() -> None:
    """A client that always diverges takes its gradient at the server's point, one that never does at its own."""
    for threshold, share in {0.0: 1.0, 1e9: 0.0}.items():
        w0, (w1, w2) = ONE.theta, fedgf.run(ONE, 2, 0.1, rho=0.2, rho_g=0.5, threshold=threshold)
        same([w1], [w0 - 0.1 * g(0, w0 + 0.2 * g(0, w0) / norm(g(0, w0)))])
        along = 0.5 * (w0 - w1) / norm(w0 - w1) if share else 0.2 * g(1, w1) / norm(g(1, w1))
        same([w2], [w1 - 0.1 * g(1, w1 + along)])


def test_fednova_by_hand() -> None:
    """Clients of 3 steps and 1 step, with 13 and 2 examples: 41/15 steps along each one's mean gradient."""
    pair = Quadratics(clients=2, participants=2, noise=0)
    w0, (f, h) = pair.theta, (pair.batches(0, k)[0] for k in (0, 1))
    w = w0
    for _ in range(3):
        w = w - 0.1 * f(w)
    mean = 13 / 15 * (w - w0) / 3 + 2 / 15 * (-0.1 * h(w0))
    same(fednova.run(pair, 1, 0.1), [w0 + 41 / 15 * mean])
    w = w0 - 0.1 * f(w0)  # with momentum 1/2 they count 1 + 1.5 + 1.75 gradients, and 1
    velocity = 0.5 * f(w0) + f(w)
    w = w - 0.1 * velocity
    w = w - 0.1 * (0.5 * velocity + f(w))
    mean = 13 / 15 * (w - w0) / 4.25 + 2 / 15 * (-0.1 * h(w0))
    same(fednova.run(pair, 1, 0.1, momentum=0.5), [w0 + (13 * 4.25 + 2) / 15 * mean])


def test_fedexp_by_hand() -> None:
    """Three clients whose updates are at right angles: the step is half as long again, but for ε."""
    updates = torch.diag(torch.tensor([3.0, 4.0, 5.0]).double())

    class Straight:
        theta, clients = torch.zeros(3).double(), 3

        def cohort(self, round: int) -> list[int]:
            return [0, 1, 2]

        def examples(self, client: int) -> int:
            return 7

        def batches(self, round: int, client: int) -> list[Gradient]:
            return [lambda theta: -updates[client]]

    mean = updates.mean(dim=0)
    same(fedexp.run(Straight(), 1, 1, epsilon=1e-12), [1.5 * mean])
    same(fedexp.run(Straight(), 1, 1, epsilon=1.0), [50 / 3 / 2 / (50 / 9 + 1) * mean])


def test_adabest_by_hand() -> None:
    """One of two takes part: what is known of a client's drift is divided by the rounds it was away."""
    problem = Quadratics(clients=2, participants=1, steps=1)
    (first, *others), rounds = [problem.cohort(r)[0] for r in range(20)], 20
    again = next(r for r, k in enumerate(others, 1) if k == first and r > 1 and first not in others[: r - 1])
    models = [problem.theta, *adabest.run(problem, rounds, 0.1, mu=0.5, beta=0.6)]
    means, h = [models[0]], dict.fromkeys((0, 1), torch.zeros(4).double())
    last: dict[int, int] = {}
    for r in range(again + 1):
        k = problem.cohort(r)[0]
        mean = models[r] - 0.1 * (problem.batches(r, k)[0](models[r]) - h[k])
        h[k] = h[k] / (r - last.get(k, r - 1)) + 0.5 * (models[r] - mean)
        last[k] = r
        same([models[r + 1]], [mean + 0.6 * (mean - means[-1])])
        means.append(mean)
    assert again > 1
