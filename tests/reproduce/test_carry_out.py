"""`fedsam reproduce`: claims, and what answers them, on a paper of a few tiny runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy import stats
from torch.func import functional_call

from fedsam import InputError, Run
from fedsam.federated.batchnorm import estimated
from fedsam.federated.round_loop import Simulation
from fedsam.federated.simulate import simulate
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.optim.sgd import SGD
from fedsam.reproduce.carry_out import Outcome
from fedsam.reproduce.claim import Answer, Claim
from fedsam.reproduce.continued import Continued
from fedsam.reproduce.measurements import FirstSteps, LineTo, NoisyAccuracy, TestAccuracy, TrainingLoss, barrier
from fedsam.reproduce.results import KEPT
from fedsam.runs.directory import RunDirectory
from tests.support.commands import call, failing
from tests.support.papers import LINE, PAPER, TINY, claims, figures, reproduced, runs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return reproduced(tmp_path_factory.mktemp("tiny"))


# the rule


@pytest.mark.parametrize(
    ("values", "side", "verdict"),
    [
        ([1.0, 1.1, 0.9], "above", "yes"),
        ([1.0, 1.1, 0.9], "below", "no"),
        ([-1.0, -1.1, -0.9], "above", "no"),
        ([-1.0, -1.1, -0.9], "below", "yes"),
        ([1.0, 0.5, -0.2], "above", "undecided"),
        ([1.0], "above", "undecided"),
        ([1.0, 1.1, float("nan")], "above", "undecided"),
    ],
)
def test_a_claim_holds_where_the_whole_interval_does(values: list[float], side: Any, verdict: str) -> None:
    for limit in (0.0, 7.0):
        claim = Claim("c", "p", "m", lambda r, s: 0.0, side, limit)
        assert Answer(claim, dict(enumerate(value + limit for value in values))).holds == verdict


def test_the_interval_is_students() -> None:
    values = [0.3, 0.5, 0.1, 0.9]
    answer = Answer(Claim("c", "p", "m", lambda r, s: 0.0, "above"), dict(enumerate(values)))
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert answer.mean is not None
    assert answer.reach is not None
    assert (answer.mean - answer.reach, answer.mean + answer.reach) == pytest.approx((low, high))


# a paper, from runs to table


def test_claims_are_answered_from_the_runs(whole: Outcome) -> None:
    assert [(answer.claim.text, answer.holds) for answer in whole.answers] == [
        ("it learns", "yes"),
        ("never", "no"),
        ("valley", "yes"),
    ]
    for seed, value in whole.answers[0].values.items():
        records = RunDirectory.open(whole.out / "runs" / f"plain-seed{seed}")[0].metrics()
        assert value == records[-1]["test_loss"]
    assert not whole.open
    assert not whole.failures


def test_what_is_written(whole: Outcome) -> None:
    found = json.loads((whole.out / "claims.json").read_text())
    assert [row["holds"] for row in found["claims"]] == ["yes", "no", "yes"]
    assert found["claims"][0]["published"] == "0.5"
    assert found["claims"][1]["published"] == "not available"
    (header, first, *_) = csv.reader((whole.out / "claims.csv").read_text().splitlines())
    row = dict(zip(header, first, strict=True))
    assert float(row["mean"]) == pytest.approx(whole.answers[0].mean)
    table = (whole.out / "claims.md").read_text()
    assert table.count("\n|") == 4
    assert "0.5 (Table 1)" in table
    assert "seeds 0, 1" in table
    (header, *points) = csv.reader((whole.out / "figures" / "plain.csv").read_text().splitlines())
    assert len(points) == 2 * 2
    records = RunDirectory.open(whole.out / "runs" / "plain-seed1")[0].metrics()
    assert [float(value) for *_, seed, _, value in points if seed == "1"] == [r["test_loss"] for r in records]
    head = (whole.out / "runs.csv").read_text().partition("\n")[0]
    assert head == "run,seed,round,test_accuracy,test_loss,train_loss,robust_accuracy"
    for name in ("figures/plain.png", "figures/fast.png", "report.html"):
        assert (whole.out / name).stat().st_size > 0


def test_a_run_begins_with_the_model_of_another(whole: Outcome) -> None:
    path = whole.out / "runs" / "then-seed1"
    begun = Simulation(RunDirectory.open(path)[1])
    state = safetensors.torch.load_file(whole.out / "runs" / "plain-seed1" / "model.safetensors")
    assert torch.equal(begun.theta_P, begun.context.layout.flatten(state))
    losses = [
        RunDirectory.open(whole.out / "runs" / f"{n}-seed1")[0].metrics()[0]["train_loss"] for n in ("plain", "then")
    ]
    assert losses[1] < losses[0] - 0.5


def test_started_again_nothing_is_trained_or_measured_twice(whole: Outcome) -> None:
    def times() -> dict[str, int]:
        files = [*(whole.out / "runs").glob("*/metrics.jsonl"), *(whole.out / "runs").glob(f"*/{KEPT}")]
        return {str(file): file.stat().st_mtime_ns for file in files}

    before, told = times(), list[str]()
    assert len(before) == 8
    again = reproduced(whole.out, tell=told.append)
    assert times() == before
    assert not told
    assert [answer.values for answer in again.answers] == [answer.values for answer in whole.answers]


def test_what_was_measured_of_another_run_is_not_taken_for_this_one(whole: Outcome) -> None:
    file = whole.out / "runs" / "then-seed0" / KEPT
    right = file.read_text()
    (name, value), *_ = json.loads(right)["measured"].items()
    digest = json.loads(right)["digest"]
    for content in ({"digest": "of another run", "measured": {name: 7}}, {"digest": digest, "measured": {"else": 7}}):
        file.write_text(json.dumps(content))
        assert whole.results.measure("then", 0, LINE) == value
    file.write_text("{")
    assert whole.results.measure("then", 0, LINE) == value


def test_each_measurement_is_kept_by_itself(whole: Outcome) -> None:
    lines = [LineTo(to, images=60, points=5, margin=0.0) for to in ("plain", "fast")] + [LineTo("plain", 60, 3, 0.0)]
    found = [whole.results.measure("then", 1, line) for line in lines]
    assert found == [line.of(loaded(whole, "then", 1), [loaded(whole, line.to, 1)]) for line in lines]
    assert found[0]["loss"] != found[1]["loss"]
    assert len(found[2]["loss"]) == 3


def test_only_some_runs_leave_the_other_claims_open(tmp_path: Path) -> None:
    outcome = reproduced(tmp_path, only="th*")
    assert sorted({name for name, _ in outcome.results.jobs}) == ["plain", "then"]  # it begins with the other's model
    assert [answer.claim.text for answer in outcome.answers] == ["it learns", "valley"]
    assert [(found.claim.text, found.why, found.holds) for found in outcome.open] == [
        ("never", "there is no run fast", "not run")
    ]
    assert json.loads((tmp_path / "claims.json").read_text())["figures_left_out"] == {"fast": "there is no run fast"}
    assert (tmp_path / "figures" / "plain.png").exists()
    assert not (tmp_path / "figures" / "fast.png").exists()
    table = (tmp_path / "claims.md").read_text()
    assert "| - | - | not run |" in table
    assert '- No answer to "never": there is no run fast.\n' in table
    assert "- Figure fast is left out: there is no run fast.\n" in table
    with pytest.raises(InputError, match="matches none of the 3 runs, such as plain, then, fast"):
        reproduced(tmp_path, only="x*")


def test_a_run_that_fails_stops_no_other(tmp_path: Path) -> None:
    def diverging(preset: str) -> dict[str, Run]:
        found = runs(preset)
        return {**found, "plain": found["plain"].replace(client=SGD(lr=1e30, epochs=1))}

    outcome = reproduced(tmp_path, SimpleNamespace(TITLE="t", runs=diverging, claims=claims, figures=figures))
    assert [answer.claim.text for answer in outcome.answers] == ["never"]
    assert [found.why for found in outcome.open] == ["there is no run plain", "there is no run then"]
    assert sorted(line.partition(":")[0] for line in outcome.failures) == [
        f"{name}, seed {seed}" for name in ("plain", "then") for seed in (0, 1)
    ]


# measures


def loaded(outcome: Outcome, name: str = "plain", seed: int = 0) -> LoadedRun:
    return outcome.results.loaded(name, seed)


def test_the_first_steps_of_an_optimiser(whole: Outcome) -> None:
    found = FirstSteps(SGD(lr=0.2, batch_size=60, epochs=1), steps=1, draws=2, images=60).of(loaded(whole), [])
    here = loaded(whole)
    landscape, theta_P = here.landscape(60, here.served), here.served.theta_P
    leaf_P = theta_P.clone().requires_grad_()
    logits = functional_call(here.context.module, here.context.layout.views(leaf_P), (landscape.inputs_N,))
    loss = torch.nn.functional.cross_entropy(logits, landscape.targets_N)
    (gradient_P,) = torch.autograd.grad(loss, leaf_P)
    expected = [float(loss.detach()), landscape.loss(theta_P - 0.2 * gradient_P)]
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert expected[1] < expected[0]


def test_later_first_steps_go_on_from_the_earlier(whole: Outcome) -> None:
    optimizer = SGD(lr=0.2, batch_size=20, epochs=1, momentum=0.5)
    three = FirstSteps(optimizer, steps=3, draws=1, images=60).of(loaded(whole), [])
    two = FirstSteps(optimizer, steps=2, draws=1, images=60).of(loaded(whole), [])
    assert len(three["loss"]) == 4
    assert three["loss"][:3] == two["loss"]
    assert len(set(three["loss"])) == 4


def test_accuracies_are_on_the_test_images(whole: Outcome) -> None:
    accuracy = whole.results.last("plain", 0, "test_accuracy")
    assert NoisyAccuracy((0.0, 3.0), draws=2).of(loaded(whole), []) == [
        pytest.approx(accuracy),
        pytest.approx(0.1, abs=0.3),
    ]
    assert TestAccuracy("then").of(loaded(whole), [loaded(whole, "then")]) == pytest.approx(accuracy)
    loss, _ = TrainingLoss(60).of(loaded(whole), [])
    assert loss == pytest.approx(FirstSteps(SGD(), steps=0, images=60).of(loaded(whole), [])["loss"][0])


def test_a_line_ends_at_the_other_model(whole: Outcome) -> None:
    line = whole.results.measure("then", 0, LineTo("plain", images=60, points=5, margin=0.0))
    ends = [TrainingLoss(60).of(loaded(whole, name), [])[0] for name in ("then", "plain")]
    assert [line["loss"][0], line["loss"][-1]] == pytest.approx(ends)


def test_each_point_of_a_line_has_its_own_statistics_of_batch_normalisation(tmp_path: Path) -> None:
    sites = []
    for name, scale in (("one", 0.1), ("other", 1.0)):
        keys = TINY | {"model.name": "resnet8", "model.width": 2, "model.norm": "batch", "client.lr": scale}
        simulate(Run.from_keys(keys | {"out": str(tmp_path / name)}))
        sites.append(LoadedRun(tmp_path / name))
    there, back = (LineTo("", 60, 7, 0.0).of(one, [other]) for one, other in (sites, sites[::-1]))
    assert there["loss"] == pytest.approx(back["loss"][::-1], rel=1e-4)  # the same line, from either end
    own = [one.landscape(60, one.served).loss(one.served.theta_P) for one in sites]
    lent = sites[0].landscape(60, sites[0].served).loss(sites[1].served.theta_P)
    assert abs(there["loss"][-1] - own[1]) < 0.5 * abs(lent - own[1])
    middle_P = torch.lerp(sites[0].served.theta_P, sites[1].served.theta_P, 0.5)
    context, (store, rows) = sites[0].context, sites[0].federation.examples([0])
    images = torch.tensor(store.inputs[rows[0]])
    own_S = estimated(context, middle_P, images)
    expected = sites[0].landscape(60, sites[0].served).given(own_S).loss(middle_P)
    assert there["loss"][3] == pytest.approx(expected, rel=1e-4)


def test_a_barrier_lies_between_the_ends() -> None:
    line = {"t": [-0.5, 0.0, 0.5, 1.0, 1.5], "loss": [9.0, 1.0, 4.0, 2.5, 8.0]}
    assert barrier(line) == 1.5
    assert barrier(line | {"loss": [9.0, 1.0, 2.0, 2.5, 8.0]}) == 0.0


# a model to begin with


@pytest.mark.parametrize(
    ("of", "words"),
    [("", "must be the directory of a finished run"), ("nowhere", "is not a run directory"), ("begun", "no model yet")],
)
def test_no_model_to_begin_with(whole: Outcome, inside: Path, of: str, words: str) -> None:
    (inside / "begun").mkdir()
    (inside / "begun" / "run.json").write_bytes((whole.out / "runs" / "plain-seed0" / "run.json").read_bytes())
    with pytest.raises(InputError, match=words):
        Simulation(Run.from_keys(TINY | {"model.name": "fedsam.reproduce.continued:Continued", "model.of": of}))


def test_a_model_of_other_images_is_refused(whole: Outcome) -> None:
    other = {"data.name": "synthetic", "data.size": 9, "data.samples_per_client": 8, "data.partition": None}
    keys = {key: value for key, value in (TINY | other).items() if value is not None}
    model = Continued(of=str(whole.out / "runs" / "plain-seed0"))
    with pytest.raises(InputError, match=r"model.of.*cannot be used here"):
        Simulation(Run.from_keys(keys).replace(model=model))


# the command


def test_what_cannot_be_reproduced(capsys: pytest.CaptureFixture[str], inside: Path) -> None:
    status, message = failing(capsys, "reproduce", "nobody1999")
    assert status == 2
    assert "no such paper: 'nobody1999'; there are " in message
    assert "zhou2025" in message
    status, message = failing(capsys, "reproduce", "zhou2025", "--preset", "phone")
    assert (status, message) == (2, "error: --preset = phone: must be one of cpu, gpu, paper\n")
    status, message = failing(capsys, "reproduce", "zhou2025", "--only", "nothing*")
    assert status == 2
    assert "matches none" in message
    assert not list(inside.iterdir())


def test_the_command(capsys: pytest.CaptureFixture[str], inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsam.reproduce.base.paper", lambda bibkey: PAPER)
    with pytest.raises(SystemExit) as caught:
        call("reproduce", "tiny2000", "--quiet", "--json")
    assert caught.value.code in (0, None)
    assert [row["holds"] for row in json.loads(capsys.readouterr().out)] == ["yes", "no", "yes"]
    assert (inside / "results" / "tiny2000" / "cpu" / "claims.md").exists()
