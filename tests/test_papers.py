"""Every paper in `experiments/`: its runs can be trained, and its card says what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import InputError, Run
from fedsam.data import cifar10, cifar100
from fedsam.data.base import Facts, Split
from fedsam.models import blocks, resnet18
from fedsam.reproduce.base import PRESETS, Preset, paper, papers
from fedsam.reproduce.card import differences, tables, text
from fedsam.reproduce.carry_out import begins_with
from fedsam.reproduce.write import HEADER
from fedsam.simulation import simulate

EVERY = [(bibkey, preset) for bibkey in papers() for preset in PRESETS]


SIDE = {"cnn": 16}
"""Of the images in place of CIFAR's, by model; 8 for the others."""


def toy(run: Run, **others: Any) -> Run:
    """The run for two steps of each client, on four images of its own, with all else as it is."""
    keys = {key: value for key, value in run.keys().items() if not key.startswith("engine.")}
    local = {"data.samples_per_client": 4, "client.batch_size": 2, "client.epochs": 1, "rounds": 1}
    local |= {"geometry.images": 4, "engine.threads": 1}
    local |= {"average.cycle": 1} if "average.cycle" in keys else {}
    return Run.from_keys(keys | local | others)


def small_images(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """What stands in for CIFAR-10 and CIFAR-100: 400 training and 8 test images, all classes alike."""

    def made(facts: Facts) -> tuple[Facts, Split, Split]:
        rng, shape = np.random.default_rng(0), (side, side, 3)
        train, test = (
            Split(rng.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % facts.classes).read_only()
            for n in (400, 8)
        )
        return replace(facts, shape=shape), train, test

    monkeypatch.setattr(cifar10.CIFAR10, "_read", lambda self: made(cifar10.FACTS))
    monkeypatch.setattr(cifar100.CIFAR100, "read", lambda self: made(cifar100.FACTS))


def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Residual networks with an eighth of their channels."""

    def made(channels: int, classes: int, widths: Sequence[int], **more: Any) -> blocks.ResNet:
        return blocks.ResNet(channels, classes, [max(8, width // 8) for width in widths], **more)

    monkeypatch.setattr(resnet18, "ResNet", made)


def splits(runs: Mapping[str, Run], folder: Path) -> None:
    """The files of index lists that the runs name, each client with four positions."""
    named = {run.keys().get("data.split_file", "") for run in runs.values()} - {""}
    assert {name.partition(":")[0] for name in named} <= {"fedsam_eccv2022.npz"}
    table = np.arange(400).reshape(4, 100).T
    if named:
        np.savez(folder / "fedsam_eccv2022.npz", **{name.partition(":")[2]: table for name in sorted(named)})


def test_there_are_papers() -> None:
    assert "zhou2025" in papers()
    assert "digits" not in papers()


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_every_run_completes_a_round(
    bibkey: str, preset: Preset, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = paper(bibkey).runs(preset)
    splits(found, inside)
    before = {name: begins_with(run) for name, run in found.items()}
    whole: set[type] = set()
    for name, run in found.items():
        in_chain = before[name] is not None or name in before.values()
        kind = type(run.model)
        with monkeypatch.context() as changed:
            small_images(changed, SIDE.get(run.model.name, 8))
            if in_chain or kind in whole:  # once each model is as large as it is
                narrow(changed)
            else:
                whole.add(kind)
            first = {"model.of": str(inside / str(before[name]))} if before[name] else {}
            out = {"out": str(inside / name)} if in_chain else {}
            result = simulate(toy(run, **first, **out))
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


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_what_runs_differ_in_belongs_to_their_names(bibkey: str, preset: Preset) -> None:
    module = paper(bibkey)
    card, runs = str(module.__doc__), module.runs(preset)
    values: dict[str, dict[Any, None]] = {}
    for run in runs.values():
        for key, value in run.keys().items():
            values.setdefault(key, {})[value] = None
    tried = 0
    for name, run in runs.items():
        own = run.keys()
        for key in own:
            for other in [value for value in values[key] if value != own[key]][:2]:
                try:
                    changed = Run.from_keys(own | {key: other})
                except InputError:  # no such run
                    continue
                tried += 1
                found = differences(card, preset, {name: changed})
                assert any(line.startswith(f"{name}: {key}") for line in found), (name, key, other)
    assert tried >= len(runs)


@pytest.mark.parametrize(
    ("bibkey", "preset", "name", "change"),
    [
        ("mordido2024", "cpu", "multistep k=5", {"client.k": 3}),
        ("mordido2024", "cpu", "lookbehind k=5 rho=0.1 alpha=0.8", {"client.k": 3}),
        ("mordido2024", "cpu", "lookbehind task 2", {"client.alpha": 0.5}),
        ("mordido2024", "cpu", "sam rho=0.1", {"client.rho": 9.0}),
        ("mordido2024", "cpu", "sam task 3", {"model.of": "sam task 1"}),
        ("mordido2024", "paper", "sgd", {"model.name": "resnet20"}),
        ("zhou2025", "cpu", "sgd-sam 10%", {"client.switch": 7}),
        ("zhou2025", "cpu", "sam-sgd 90%", {"client.switch": 20}),
        ("zhou2025", "gpu", "sam", {"client.rho": 9.0}),
        ("zhou2025", "paper", "at", {"attack.epsilon": 0.1}),
        ("caldarola2022", "cpu", "fedavg alpha 0.5", {"data.alpha": 3.0}),
        ("caldarola2022", "paper", "fedavg alpha 0.05 10 a round", {"data.split_file": "x"}),
        ("caldarola2022", "paper", "cifar100 fedsam alpha 1000 10 a round", {"data.alpha": 1.0}),
        ("coldenhoff2022", "cpu", "sam 16", {"client.batch_size": 64}),
        ("kwon2021", "cpu", "noise 40% sam", {"data.label_noise": 0.2}),
        ("kwon2021", "paper", "grid b32 lr0.02 wd0.0001", {"client.batch_size": 128}),
    ],
)
def test_no_value_that_a_paper_varies_is_free(bibkey: str, preset: Preset, name: str, change: dict[str, Any]) -> None:
    module = paper(bibkey)
    other = Run.from_keys(module.runs(preset)[name].keys() | change)
    ((key, value),) = change.items()
    found = differences(str(module.__doc__), preset, {name: other})
    assert any(line.startswith(f"{name}: {key} is {text(value)}, the card says ") for line in found)


CARD = """
| key | cpu | gpu | paper |
|---|---|---|---|
| rounds | 100 | 200 | 200 |

| runs | keys |
|---|---|
| late {p}%, early {p}% | rounds={2*p+1} |
| early {p}% | client.batch_size={p} cohort=2/3/4 |
| plain * | rounds=- |
"""


def test_a_card_reads_values_from_names() -> None:
    runs = {
        "late 2.5%": Run(rounds=6),
        "early 8%": Run.from_keys({"rounds": 17, "client.batch_size": 8, "cohort": 3}),
        "plain one": Run(),
    }
    assert differences(CARD, "gpu", runs) == []
    wrong = {"late 3%": runs["late 2.5%"], "early 8%": runs["early 8%"], "plain one": Run(rounds=100)}
    assert differences(CARD, "gpu", wrong) == [
        "late 3%: rounds is 6, the card says 7",
        "plain one: rounds=100 is not in the card",
    ]
    assert differences(CARD, "cpu", runs) == ["early 8%: cohort is 3, the card says 2"]
    formatted = CARD.replace("{2*p+1}", "{p:.2f}")
    assert differences(formatted, "gpu", runs)[0] == "late 2.5%: rounds is 6, the card says 2.50"
    starred = CARD.replace("{2*p+1}", "*")
    assert differences(starred, "gpu", runs)[0] == "late 2.5%: rounds is 6, the card says *"


@pytest.mark.parametrize("bibkey", papers())
def test_the_card_holds_the_claims_with_what_was_measured(bibkey: str) -> None:
    module = paper(bibkey)
    found = re.findall(r"<!-- measured -->\n(.*?)<!-- end of measured -->", str(module.__doc__), re.DOTALL)
    assert len(found) == 1
    header, *rows = tables(found[0])["claim"]
    assert header in (list(HEADER), [name for name in HEADER if name != "seeds"])
    seeds = ", ".join(str(1 + n) for n in range(module.SEEDS["cpu"]))
    for claim, cells in zip(module.claims("cpu"), rows, strict=True):
        row = dict(zip(header, cells, strict=True))
        assert row["claim"] == claim.text
        assert row["published"] == f"{claim.published} ({claim.place})"
        assert row["measured"] == f"{claim.measured}; {claim.side} {claim.limit:g}"
        assert row["holds"] in ("yes", "no", "undecided")
        assert row.get("seeds", seeds) == seeds or row["ours"] == "-"
    assert f"Preset cpu, seeds {seeds};" in found[0]


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_names_differ_in_more_than_case(bibkey: str, preset: Preset) -> None:
    names = list(paper(bibkey).runs(preset))
    assert len({name.lower() for name in names}) == len(names)
