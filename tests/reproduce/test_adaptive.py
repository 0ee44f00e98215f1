"""Adaptive sharpness as a measure, rescaled networks, rank correlation, and what `kwon2021` makes of them."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from experiments.kwon2021 import answers, settings
from fedsam import InputError, Run
from fedsam.federated.simulate import simulate
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.models.resnet20 import ResNet20
from fedsam.models.wide_resnet import WideResNet
from fedsam.optim.asam import ASAM
from fedsam.optim.sam import SAM
from fedsam.params import layout_of, theta_of
from fedsam.reproduce.adaptive import BallSharpness, RescaledSharpness, rank_correlation, rescaled
from fedsam.reproduce.card import differences
from fedsam.reproduce.figures import as_csv, save
from fedsam.reproduce.scatter import Scatter

TINY: dict[str, Any] = {"data.clients": 1, "data.partition": "iid", "cohort": 1, "rounds": 2, "client.epochs": 1}
TINY |= {"engine.name": "loop", "engine.threads": 1}
UP, DOWN = ("fc1.*",), ("out.weight",)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    out = tmp_path_factory.mktemp("run") / "run"
    simulate(Run.from_keys(TINY | {"out": str(out)}))
    return LoadedRun(out)


def by_hand(loaded: LoadedRun, scaled: bool, rho: float, factor: float = 1.0) -> float:
    """L(w + ε) − L(w) at SAM's or element-wise ASAM's own ε, on all training images, in float64."""
    images = loaded.federation.examples([0])[0]
    spec = loaded.federation.spec
    pixels = torch.tensor(images.inputs, dtype=torch.float64).permute(0, 3, 1, 2)
    inputs = (pixels / spec.scale - spec.mean[0]) / spec.std[0]
    tensors = {
        name: tensor.double().clone()
        for name, tensor in loaded.context.layout.views(loaded.served.theta_P.detach()).items()
    }
    for name, sign in (("fc1.weight", 1), ("fc1.bias", 1), ("out.weight", -1)):
        tensors[name] *= factor**sign
    weights = {name: tensor.requires_grad_() for name, tensor in tensors.items()}

    def loss(at: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = torch.relu(inputs.flatten(1) @ at["fc1.weight"].T + at["fc1.bias"])
        logits = hidden @ at["out.weight"].T + at["out.bias"]
        return torch.nn.functional.cross_entropy(logits, torch.tensor(images.targets))

    here = loss(weights)
    gradients = dict(zip(weights, torch.autograd.grad(here, list(weights.values())), strict=True))
    scale = {name: w.detach().abs() if scaled else torch.ones_like(w) for name, w in weights.items()}
    length = math.sqrt(sum(float((scale[name] * g).square().sum()) for name, g in gradients.items()))
    there = {name: w.detach() + rho * scale[name] ** 2 * gradients[name] / length for name, w in weights.items()}
    return float(loss(there) - here.detach())


@pytest.mark.parametrize(("ball", "scaled"), [(SAM(rho=0.3), False), (ASAM(rho=0.4, scaling="all"), True)])
def test_sharpness_of_a_step_is_that_of_the_definition(loaded: LoadedRun, ball: Any, scaled: bool) -> None:
    found = BallSharpness(ball, images=1400, steps=1).of(loaded, [])
    assert found == pytest.approx(by_hand(loaded, scaled, ball.rho), rel=1e-4)
    moved = RescaledSharpness(ball, UP, DOWN, (1.0, 3.0), images=1400, steps=1).of(loaded, [])
    expected = [by_hand(loaded, scaled, ball.rho, factor) for factor in (1.0, 3.0)]
    assert moved["sharpness"] == pytest.approx(expected, rel=1e-4)
    assert moved["loss"][1] == pytest.approx(moved["loss"][0], rel=1e-5)
    assert (abs(math.log(expected[1] / expected[0])) < 1e-9) == scaled


def test_more_steps_find_more(loaded: LoadedRun) -> None:
    one, many = (BallSharpness(SAM(rho=0.5), images=300, steps=steps).of(loaded, []) for steps in (1, 8))
    assert many > one


def test_only_what_is_named_is_rescaled(loaded: LoadedRun) -> None:
    theta_P, layout = loaded.served.theta_P, loaded.context.layout
    before, after = (layout.views(at) for at in (theta_P, rescaled(theta_P, layout, UP, DOWN, 4.0)))
    for name in layout.names:
        factor = {"fc1.weight": 4.0, "fc1.bias": 4.0, "out.weight": 0.25, "out.bias": 1.0}[name]
        assert torch.equal(after[name], factor * before[name])


@pytest.mark.parametrize(("up", "down"), [(("fc9.*",), DOWN), (UP, ("out.weight", "conv*"))])
def test_a_pattern_without_a_tensor_is_refused(loaded: LoadedRun, up: tuple[str, ...], down: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"no tensor of the model has a name like '(fc9|conv)"):
        rescaled(loaded.served.theta_P, loaded.context.layout, up, down, 2.0)


@pytest.mark.parametrize(
    ("model", "preset"),
    [
        (ResNet20(channels=4, norm="batch"), "cpu"),
        (ResNet20(channels=4, norm="none"), "cpu"),
        (WideResNet(depth=10, width=1, norm="batch"), "paper"),
    ],
)
def test_the_papers_networks_can_be_rescaled(model: Any, preset: Any) -> None:
    module = model.module((8, 8, 1), 10, 3).double().eval()
    layout, theta_P = layout_of(module), theta_of(module).double()
    theta_P = theta_P + 0.1 * torch.randn(len(theta_P), generator=torch.Generator().manual_seed(1), dtype=theta_P.dtype)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    up, down = settings.rescaling(model.norm, preset)
    moved_P = rescaled(theta_P, layout, up, down, 8.0)
    one, other = (functional_call(module, layout.views(at), (images,)) for at in (theta_P, moved_P))
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    changed = [name for name, view in layout.views(moved_P / theta_P).items() if float((view - 1).abs().max()) > 1]
    blocks = sum(name.endswith("conv1.weight") for name in layout.names)
    assert sum(any(fnmatchcase(name, pattern) for pattern in up) for name in changed) >= blocks >= 3


def test_rank_correlation_is_kendalls() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=12), rng.normal(size=12)
    signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in combinations(range(12), 2)]
    assert rank_correlation(a.tolist(), b.tolist()) == pytest.approx(np.mean(signs))
    assert rank_correlation([1, 2, 3], [-1, -2, -3]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(2 * 3))  # one tie: τ-b
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_points_have_no_lines_between_them(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    panel = Scatter("x", "y", {"a": ([3.0, 1.0], [[5.0, 6.0], [7.0, 8.0]]), "b": ([2.0], [[9.0]])})
    axes = Figure().subplots()
    panel.draw(axes)
    points = [(x, y) for drawn in axes.lines for x, y in zip(*drawn.get_data(), strict=True)]
    assert sorted(points) == [(1, 6), (1, 8), (2, 9), (3, 5), (3, 7)]
    assert {drawn.get_linestyle() for drawn in axes.lines} == {"None"}
    assert axes.get_legend_handles_labels()[1] == ["a", "b"]
    save([panel], tmp_path / "points")
    assert (tmp_path / "points.csv").read_text() == as_csv([panel])


def test_a_card_gives_a_value_for_each_preset() -> None:
    card = "| key | cpu | gpu | paper |\n|---|---|---|---|\n\n| runs | keys |\n|---|---|\n| a* | rounds=3/4/- |\n"
    assert differences(card, "cpu", {"ab": Run(rounds=3)}) == []
    assert differences(card, "gpu", {"ab": Run(rounds=4)}) == []
    assert differences(card, "paper", {"ab": Run()}) == []
    assert differences(card, "cpu", {"ab": Run(rounds=4)}) == ["ab: rounds is 4, the card says 3"]
    assert differences(card, "paper", {"ab": Run(rounds=3)}) == ["ab: rounds=3 is not in the card"]


# what the module makes of its runs


class Fake:
    """Numbers in place of runs."""

    seeds = (1,)

    def __init__(self, measured: Any = None, **accuracy: float) -> None:
        self.accuracy, self.measured = accuracy, measured

    def last(self, name: str, seed: int, field: str) -> float:
        return {"test_loss": 2.0}.get(field, self.accuracy.get(name, self.accuracy.get("others", 0.5)))

    def measure(self, name: str, seed: int, measure: Any) -> Any:
        return self.measured(name, measure)


def claim(text: str) -> Any:
    (found,) = [claim for claim in answers.claims("cpu") if claim.text.startswith(text)]
    return found


def test_under_noise_the_clean_runs_do_not_count() -> None:
    accuracy = {"noise 0% asam": 0.1, "noise 20% asam": 0.9, "noise 80% sgd": 0.3}
    value = claim("ASAM withstands wrong labels better than SGD").value(Fake(**accuracy), 1)
    assert value == pytest.approx(-(0.9 - 0.5) / 4 - (0.5 - 0.3) / 4)
    every = claim("ASAM with every parameter scaled withstands wrong labels better than SAM")
    assert every.value(Fake(**{"noise 40% asam-all": 0.7}), 1) == pytest.approx(-0.2 / 4)


def test_differences_are_of_errors_and_negative_where_asam_is_better() -> None:
    for norm, text in (("batch", "With BatchNorm"), ("none", "Without normalisation")):
        for than in ("sgd", "sam"):
            found = Fake(**{f"{norm} asam": 0.9, f"{norm} {than}": 0.7})
            asked = claim(f"{text} ASAM generalises better than {than.upper()}")
            assert (asked.value(found, 1), asked.side) == (pytest.approx(-0.2), "below")


def test_invariance_is_judged_by_the_worse_network() -> None:
    def measured(name: str, measure: RescaledSharpness) -> dict[str, list[float]]:
        change = {"batch sgd": 0.5, "none sgd": 3.0}[name]
        return {
            of: [number * (change if factor == 3.0 else 1.0) for factor in settings.FACTORS]
            for of, number in (("loss", 2.0), ("sharpness", 7.0))
        }

    found = Fake(measured)
    assert claim("Its sharpness changes").value(found, 1) == pytest.approx(math.log(2))
    assert claim("Its adaptive sharpness").value(found, 1) == pytest.approx(math.log(3))
    assert claim("A trained network").value(found, 1) == pytest.approx(math.log(3))
    assert math.isnan(answers.change([1.0, 1.0, -0.5, 1.0, 1.0]))


def test_gaps_are_test_less_training_loss_and_training_less_test_accuracy() -> None:
    names = list(settings.grid("cpu"))

    def measured(name: str, measure: Any) -> Any:
        place = float(names.index(name))
        if isinstance(measure, BallSharpness):  # adaptive: in the order of the gap in loss; plain: against it
            return place if isinstance(measure.ascent, ASAM) else -place
        return [0.5 - place / 100, 0.9]

    found: Any = Fake(measured, others=0.6)
    gaps = answers.gaps(found, "cpu", 1)
    assert gaps["loss"] == pytest.approx([1.5 + n / 100 for n in range(len(names))])
    assert gaps["error"] == pytest.approx([0.3] * len(names))
    assert claim("Adaptive sharpness goes with the generalisation gap in loss").value(found, 1) == pytest.approx(1)
    assert claim("It does more so than sharpness does, in loss").value(found, 1) == pytest.approx(2)


def test_radii_of_measurement_are_those_of_training() -> None:
    runs = settings.runs("cpu")
    for ball, name in (("sharpness", "sam"), ("adaptive, weights", "asam"), ("adaptive, all", "asam-all")):
        client: Any = runs[f"batch {name}"].client
        asked = settings.BALLS[ball]
        assert type(asked) is type(client)
        assert asked.rho == client.rho
        assert getattr(asked, "scaling", None) == getattr(client, "scaling", None)


def test_the_grid_differs_in_three_settings() -> None:
    for preset, count in (("cpu", 27), ("gpu", 9), ("paper", 27)):
        models = settings.grid(preset)  # type: ignore[arg-type]
        assert len({repr(sorted(keys.items())) for keys in models.values()}) == len(models) == count
