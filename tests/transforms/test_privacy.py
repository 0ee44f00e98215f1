"""DP-FedAvg by hand, its noise, its adaptive clip, epsilon, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run, simulate
from fedsam.federated.round_loop import Simulation
from fedsam.rng import stream
from fedsam.transforms import accountant
from fedsam.transforms.accountant import Sampled, epsilon_of, multiplier_for
from fedsam.transforms.base import Terms
from fedsam.transforms.gaussian import Gaussian
from fedsam.transforms.gaussian_adaptive import WITHIN, AdaptiveGaussian
from fedsam.transforms.none import Dense
from fedsam.transforms.pipeline import PRIVACY, Transforms
from fedsam.transforms.topk import TopK
from tests.support.ragged import Ragged
from tests.support.rounds import trained

pytest.importorskip("dp_accounting")

C, Z, M = 0.2, 0.7, 5
CLIPPED = {"privacy.name": "gaussian", "privacy.clip": C, "privacy.noise_multiplier": Z}


def described(**changes: Any) -> Run:
    keys = {
        "data": Ragged(),
        "cohort": M,
        "rounds": 2,
        "evaluate_every": 1,
        "engine.precision": "fp64",
        "client.lr": 0.05,
    }
    return Run.from_keys({**keys, "engine.name": "loop", "engine.threads": 1, "model.width": 8, **changes})


def clipped(delta_P: np.ndarray, clip: float) -> np.ndarray:
    norm = math.sqrt(sum(float(x) ** 2 for x in delta_P))
    return delta_P * (clip / norm) if norm > clip else delta_P


def raw() -> tuple[Tensor, list[np.ndarray]]:
    """The model, and what clients make of it in the first round without privacy."""
    deltas, _ = trained(described())
    return Simulation(described()).theta_P, [delta_P.numpy() for delta_P in deltas.values()]


@pytest.mark.parametrize("engine", ["loop", "cohort"])
@pytest.mark.parametrize("noise_by", ["server", "clients"])
def test_a_round_by_hand(engine: str, noise_by: str) -> None:
    """w + (1/m) (Σ delta_k min(1, C / ‖delta_k‖) + noise): every client weighs the same, whatever its examples."""
    theta_P, deltas = raw()
    run = described(**CLIPPED, **{"engine.name": engine, "privacy.noise_by": noise_by})
    simulation = Simulation(run)
    ids = simulation.participation(simulation.clock()).ids
    simulation.advance()
    total_P = sum(clipped(delta_P, C) for delta_P in deltas)
    assert sum(np.linalg.norm(delta_P) > C for delta_P in deltas) >= 2
    if noise_by == "server":
        total_P = total_P + Z * C * stream(0, "privacy", 0).standard_normal(len(theta_P))
    else:
        each = [stream(0, "client noise", 0, client).standard_normal(len(theta_P)) for client in ids]
        total_P = total_P + Z * C / math.sqrt(M) * sum(each)
    assert np.abs(simulation.theta_P.numpy() - theta_P.numpy() - total_P / M).max() < 1e-9


def test_a_short_update_stays_and_a_long_one_has_the_length_of_the_clip() -> None:
    delta_KP = torch.tensor([[0.3, 0.4], [3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    mechanism = Gaussian(clip=1.0)
    sent = mechanism.sent({}, Terms(Sampled(9, 3), 1.0), delta_KP)
    found = Transforms(Dense(), mechanism, 0).client(delta_KP, [0, 1, 2], 0, {PRIVACY: sent}, {}).delta_KP
    assert torch.equal(found[[0, 2]], delta_KP[[0, 2]])
    assert found[1].tolist() == pytest.approx([0.6, 0.8])


def test_what_is_compressed_is_clipped_afterwards() -> None:
    """So that the bound holds although what was left before makes updates longer."""
    delta_KP = torch.tensor([[3.0, 0.1, -4.0]], dtype=torch.float64)
    mechanism, kept = Gaussian(clip=1.0), {"compression residual": torch.tensor([[0.0, 9.0, 0.0]])}
    sent = mechanism.sent({}, Terms(Sampled(9, 3), 1.0), delta_KP)
    transforms = Transforms(TopK(share=0.6), mechanism, 0)
    found = transforms.client(delta_KP, [0], 0, {PRIVACY: sent}, kept)
    length = math.hypot(9.1, 4.0)
    assert found.delta_KP[0].tolist() == pytest.approx([0.0, 9.1 / length, -4.0 / length])
    assert found.client_state["compression residual"][0].tolist() == pytest.approx([3.0, 0.0, 0.0])
    assert torch.equal(transforms.decode(found.payload, [0], 0, delta_KP[0]), found.delta_KP)


P = 40_000


@pytest.mark.parametrize("came", [0, 3, 8])
@pytest.mark.parametrize("noise_by", ["server", "clients"])
def test_noise_of_the_mean_has_the_same_deviation_whoever_adds_it(noise_by: Any, came: int) -> None:
    """z C / m, however many deliver; the denominator stays m."""
    mechanism, terms = Gaussian(clip=0.5, noise_by=noise_by), Terms(Sampled(100, 8), 1.5)
    zero_P = torch.zeros(P)
    sent = {PRIVACY: mechanism.sent({}, terms, zero_P)}
    rows_KP, ids = zero_P.expand(max(came, 1), P), range(max(came, 1))
    rows_KP = Transforms(Dense(), mechanism, 3).client(rows_KP, ids, 0, sent, {}).delta_KP
    mean_P = rows_KP.mean(dim=0) if came else zero_P
    found_P, _ = mechanism.server(mean_P, came, {}, {}, terms, stream(3, "privacy", 0))
    assert float(found_P.std()) == pytest.approx(1.5 * 0.5 / 8, rel=0.02)
    assert abs(float(found_P.mean())) < 5 * 1.5 * 0.5 / 8 / math.sqrt(P)
    ones_P, _ = mechanism.server(mean_P + 1, came, {}, {}, terms, stream(3, "privacy", 0))
    assert float((ones_P - found_P).mean()) == pytest.approx(came / 8, abs=1e-6)


def test_adaptive_clip_by_hand() -> None:
    mechanism = AdaptiveGaussian(clip=1.0, quantile=0.6, clip_lr=0.3, count_noise=0.2)
    terms, clip = Terms(Sampled(50, 4), 0.8), 1.0
    lengths = torch.tensor([[0.5], [1.5], [0.9], [0.2]], dtype=torch.float64)
    state = mechanism.init(lengths)
    for round in range(3):
        sent = mechanism.sent(state, terms, lengths)
        assert float(sent[0]) == pytest.approx(clip)
        factor_K1, told = mechanism.factor(lengths, sent)
        assert factor_K1.squeeze(1).tolist() == pytest.approx([min(1.0, clip / x) for x in lengths.squeeze(1).tolist()])
        rng, again = stream(0, "privacy", round), stream(0, "privacy", round)
        delta_P, state = mechanism.server(torch.ones(7).double(), 4, {WITHIN: told[WITHIN].sum(0)}, state, terms, rng)
        split = (0.8**-2 - (2 * 0.2 * 4) ** -2) ** -0.5
        assert delta_P.tolist() == pytest.approx((1 + split * clip / 4 * again.standard_normal(7)).tolist())
        within = sum(x <= clip for x in lengths.squeeze(1).tolist())
        share = 0.5 + (within - 4 / 2 + 0.2 * 4 * again.standard_normal()) / 4
        clip = clip * math.exp(-0.3 * (share - 0.6))


def test_the_adaptive_clip_finds_the_median() -> None:
    lengths = torch.linspace(1, 3, 201).double()[:, None]
    mechanism, terms = AdaptiveGaussian(), Terms(Sampled(1000, 201), 1.0)
    state = mechanism.init(lengths)
    for round in range(200):
        _, told = mechanism.factor(lengths, mechanism.sent(state, terms, lengths))
        told = {WITHIN: told[WITHIN].sum(0)}
        _, state = mechanism.server(torch.zeros(1), 201, told, state, terms, stream(0, "privacy", round))
    assert float(state["clip"]) == pytest.approx(2.0, abs=0.15)


def test_epsilon_of_a_gaussian_in_closed_form() -> None:
    """Rényi: T α / (2 z²), turned into (ε, δ) after Canonne, Kamath and Steinke (2020), proposition 12."""
    for noise, rounds, delta in [(3.0, 1, 1e-3), (5.0, 20, 1e-5)]:
        wanted = min(
            rounds * a / (2 * noise**2) + math.log1p(-1 / a) - math.log(delta * a) / (a - 1)
            for a in np.arange(1.01, 300, 0.01).tolist()
        )
        found = epsilon_of(noise, rounds, Sampled(50, 50), delta)
        assert found is not None
        assert wanted - 1e-6 <= found <= 1.02 * wanted  # its orders are fewer
        almost = epsilon_of(2 * noise, rounds, Sampled(10**6, 10**6 - 1), delta)  # one replaced: two clips
        assert almost == found


def test_epsilon_of_cohorts_of_a_fixed_size() -> None:
    """Wang, Balle and Kasiviswanathan (2019), theorem 27, for a Gaussian of the sensitivity 2 C; whole orders."""
    q, noise, rounds, delta = 0.05, 3.0, 100, 1e-4

    def gaussian(order: int) -> float:
        return order / (2 * (noise / 2) ** 2)

    def rdp(order: int) -> float:
        total = 1 + q**2 * math.comb(order, 2) * min(4 * math.expm1(gaussian(2)), 2 * math.exp(gaussian(2)))
        for j in range(3, order + 1):
            total += 2 * q**j * math.comb(order, j) * math.exp((j - 1) * gaussian(j))
        return math.log(total) / (order - 1)

    wanted = min(rounds * rdp(a) + math.log1p(-1 / a) - math.log(delta * a) / (a - 1) for a in range(2, 40))
    found = epsilon_of(noise, rounds, Sampled(1000, 50), delta)
    assert found == pytest.approx(wanted, rel=0.02)
    one_by_one = epsilon_of(noise, rounds, Sampled(1000, 50, poisson=True), delta)
    assert one_by_one is not None
    assert one_by_one < found / 2


def test_epsilon_of_abadi_2016() -> None:
    """Their figure 2: 1.26 for q = 0.01, z = 4, δ = 1e-5 after 10,000 steps, by the moments accountant."""
    found = epsilon_of(4.0, 10_000, Sampled(10_000, 100, poisson=True), 1e-5)
    assert found is not None
    assert 0.9 < found <= 1.26


def test_a_target_has_the_least_noise_that_is_enough() -> None:
    for sampled in (Sampled(100, 100), Sampled(100, 10), Sampled(100, 10, poisson=True)):
        noise = multiplier_for(2.0, 50, sampled, 1e-3)
        enough, less = epsilon_of(noise, 50, sampled, 1e-3), epsilon_of(0.999 * noise, 50, sampled, 1e-3)
        assert enough is not None
        assert less is not None
        assert enough <= 2.0 < less
    run = described(**{"privacy.name": "gaussian", "privacy.epsilon": 3.0, "privacy.delta": 1e-2})
    assert simulate(run).metrics[-1]["epsilon"] == pytest.approx(3.0, rel=1e-4)


def test_every_record_has_epsilon_and_it_grows() -> None:
    run = described(**CLIPPED, rounds=3)
    found = [record["epsilon"] for record in simulate(run).metrics]
    delta = run.data.clients**-1.1
    assert found == [epsilon_of(Z, n, Sampled(run.data.clients, M), delta) for n in (1, 2, 3)]
    assert 0 < found[0] < found[1] < found[2]
    assert "epsilon" not in simulate(described()).metrics[-1]
    without = simulate(described(**{**CLIPPED, "privacy.noise_multiplier": 0.0}))
    assert [record["epsilon"] for record in without.metrics] == [None, None]


def test_a_round_in_which_nobody_delivers_still_has_its_noise() -> None:
    run = described(**CLIPPED, **{"system.name": "simulated", "system.dropout": 1.0})
    simulation = Simulation(run)
    before_P = simulation.theta_P
    simulation.advance()
    noise_P = Z * C / M * stream(0, "privacy", 0).standard_normal(len(before_P))
    assert np.abs((simulation.theta_P - before_P).numpy() - noise_P).max() < 1e-12


REFUSED = [
    (
        {"server.name": "scaffold"},
        "privacy.name = gaussian: server.name=scaffold has clients send more than one clipped",
    ),
    ({"server.name": "feddyn"}, "privacy.name = gaussian: server.name=feddyn has clients send more than one clipped"),
    ({"server.name": "flwr:FedMedian"}, "does more than add up updates"),
    ({"system.name": "simulated", "system.available": 0.5}, "not sampled uniformly from all"),
    ({"privacy.noise_by": "clients", "compress.name": "topk"}, "privacy.noise_by = clients: noise of clients would be"),
    ({"privacy.epsilon": 1.0, "privacy.noise_multiplier": 1.0}, "privacy.epsilon = 1.0: and privacy.noise_multiplier"),
    ({"model.name": "resnet8", "model.norm": "batch", "data.name": "synthetic"}, "statistics are no clipped vector"),
    ({"privacy.name": "gaussian_adaptive", "privacy.count_noise": 0.001}, "privacy.count_noise = 0.001: must be above"),
    ({"privacy.epsilon": 1e-3, "privacy.delta": 1e-9, "rounds": 10**9}, "privacy.epsilon = 0.001: no noise is enough"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=lambda each: str(each)[:60])
def test_what_has_no_bound_is_refused_in_one_line(keys: dict[str, Any], message: str) -> None:
    small = {"data.clients": 10, "cohort": 3, "rounds": 1, "client.epochs": 1, "privacy.name": "gaussian"}
    with pytest.raises(InputError) as error:
        simulate(Run.from_keys({**small, **keys}))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("server", ["fedavg", "fedadam", "fedavgm", "fedprox", "fedswa", "fedlesam"])
def test_what_uploads_one_vector_is_private(server: str) -> None:
    assert simulate(described(**CLIPPED, **{"server.name": server})).metrics[-1]["epsilon"] > 0


def test_without_the_accountant_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "available", lambda: False)
    with pytest.raises(InputError, match=r"privacy.name = gaussian: needs the package .* 'fedsam\[privacy\]'"):
        simulate(described(**CLIPPED))
