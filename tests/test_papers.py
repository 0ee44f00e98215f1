"""Every paper in `experiments/`: its runs can be trained, and its card says what they are."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fedsam import Run
from fedsam.models.resnet18 import ResNet18
from fedsam.models.resnet20 import ResNet20
from fedsam.reproduce.base import PRESETS, Preset, paper, papers
from fedsam.reproduce.card import differences, tables
from fedsam.reproduce.carry_out import begins_with
from fedsam.simulation import simulate

EVERY = [(bibkey, preset) for bibkey in papers() for preset in PRESETS]


def toy(run: Run, **others: Any) -> Run:
    """The run on four images of 8 x 8 (the CNN: 16 x 16) for two steps, with all else as it is."""
    keys = {key: value for key, value in run.keys().items() if not key.startswith(("data.", "engine."))}
    kept = {key: value for key, value in run.keys().items() if key in ("data.augment", "data.clients")}
    channels = 1 if run.data.name == "digits" else 3
    small = {"data.name": "synthetic", "data.samples_per_client": 4, "data.test_samples": 4, "data.channels": channels}
    small |= {"data.size": 16} if run.model.name == "cnn" else {}
    local = {"client.batch_size": 2, "client.epochs": 1, "rounds": 1, "geometry.images": 4, "engine.threads": 1}
    local |= {"average.cycle": 1} if "average.cycle" in keys else {}
    return Run.from_keys(keys | kept | small | local | others)


def test_there_are_papers() -> None:
    assert "zhou2025" in papers()
    assert "digits" not in papers()


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_every_run_completes_a_round(bibkey: str, preset: Preset) -> None:
    found = paper(bibkey).runs(preset)
    tried = set()
    for number, (name, run) in enumerate(found.items()):
        first = run
        while (before := begins_with(first)) is not None:  # of a sequence only the weights differ
            first = found[before]
        model = first.model
        if number > 0 and isinstance(model, ResNet18):  # it is built and trained once; the smaller one takes its place
            model = ResNet20(norm=model.norm)
        small = toy(run.replace(model=model))
        if small.digest() in tried:  # they differ in the data alone
            continue
        tried.add(small.digest())
        result = simulate(small)
        assert result.metrics[-1]["round"] == 1, name


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_the_card_says_what_the_runs_are(bibkey: str, preset: Preset) -> None:
    module = paper(bibkey)
    assert differences(str(module.__doc__), preset, module.runs(preset)) == []


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_another_setting_would_be_noticed(bibkey: str, preset: Preset) -> None:
    module = paper(bibkey)
    card = str(module.__doc__)
    for name, run in module.runs(preset).items():
        for change in ({"client.lr": 0.123}, {"rounds": 77}, {"client.clip_norm": 5.0}, {"data.label_noise": 0.3}):
            other = Run.from_keys(run.keys() | change)
            found = [line for line in differences(card, preset, {name: other}) if line.startswith(f"{name}: ")]
            assert len(found) == 1, change
    absent = differences(card, preset, {"else": Run()})
    assert any(line.startswith("no run of any name like ") for line in absent)


@pytest.mark.parametrize("bibkey", papers())
def test_the_card_holds_the_claims_with_what_was_measured(bibkey: str) -> None:
    module = paper(bibkey)
    found = re.findall(r"<!-- measured -->\n(.*?)<!-- end of measured -->", str(module.__doc__), re.DOTALL)
    assert len(found) == 1
    header, *rows = tables(found[0])["claim"]
    assert header == ["claim", "published", "measured", "ours", "holds"]
    for claim, row in zip(module.claims("cpu"), rows, strict=True):
        assert row[0] == claim.text
        assert row[1] == f"{claim.published} ({claim.place})"
        assert row[2] == f"{claim.measured}; {claim.side} {claim.limit:g}"
        assert row[4] in ("yes", "no", "undecided")
    assert f"Preset cpu, seeds {', '.join(str(1 + n) for n in range(module.SEEDS['cpu']))};" in found[0]


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_names_differ_in_more_than_case(bibkey: str, preset: Preset) -> None:
    names = list(paper(bibkey).runs(preset))
    assert len({name.lower() for name in names}) == len(names)
