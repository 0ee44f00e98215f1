"""Every paper in `experiments/`: its card says what its runs are."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from fedsam import InputError, Run
from fedsam.reproduce.base import PRESETS, Preset, paper, papers
from fedsam.reproduce.card import differences, tables, text
from fedsam.reproduce.write import HEADER

EVERY = [(bibkey, preset) for bibkey in papers() for preset in PRESETS]


@cache
def runs_of(bibkey: str, preset: Preset) -> dict[str, Run]:
    return paper(bibkey).runs(preset)


def test_there_are_papers() -> None:
    assert "zhou2025" in papers()
    assert "digits" not in papers()


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_the_card_says_what_the_runs_are(bibkey: str, preset: Preset) -> None:
    assert differences(str(paper(bibkey).__doc__), preset, runs_of(bibkey, preset)) == []


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_another_setting_would_be_noticed(bibkey: str, preset: Preset) -> None:
    card = str(paper(bibkey).__doc__)
    for name, run in runs_of(bibkey, preset).items():
        for change in ({"client.lr": 0.123}, {"rounds": 77}, {"client.clip_norm": 5.0}, {"data.label_noise": 0.3}):
            try:
                other = Run.from_keys(run.keys() | change)
            except InputError:  # masks and tokens have no label noise
                assert run.learnt.name in ("segmentation", "sequence")
                assert "data.label_noise" in change
                continue
            found = [line for line in differences(card, preset, {name: other}) if line.startswith(f"{name}: ")]
            assert len(found) == 1, change
    absent = differences(card, preset, {"else": Run()})
    assert any(line.startswith("no run of any name like ") for line in absent)


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_what_runs_differ_in_belongs_to_their_names(bibkey: str, preset: Preset) -> None:
    card, runs = str(paper(bibkey).__doc__), runs_of(bibkey, preset)
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
        ("caldarola2022", "paper", "country fedasam", {"data.unseen": "2"}),
        ("caldarola2022", "gpu", "cityscapes fedavg", {"task.hardest": 0.5}),
        ("kwon2021", "paper", "grid b32 lr0.02 wd0.0001", {"client.batch_size": 128}),
    ],
)
def test_no_value_that_a_paper_varies_is_free(bibkey: str, preset: Preset, name: str, change: dict[str, Any]) -> None:
    other = Run.from_keys(runs_of(bibkey, preset)[name].keys() | change)
    ((key, value),) = change.items()
    found = differences(str(paper(bibkey).__doc__), preset, {name: other})
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


def test_what_components_hold_is_held_against_the_card_too() -> None:
    run = Run.from_keys({"rounds": 6, "data.partition": "shards", "data.shards_per_client": 3})
    found = differences(CARD, "gpu", {"late 2.5%": run})
    assert [line for line in found if line.startswith("late")] == [
        "late 2.5%: data.partition=shards is not in the card",
        "late 2.5%: data.shards_per_client=3 is not in the card",
    ]


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
        assert row["published"] == (f"{claim.published} ({claim.place})" if claim.place else claim.published)
        assert row["measured"] == f"{claim.measured}; {claim.side} {claim.limit:g}"
        assert row["holds"] in ("yes", "no", "undecided")
        assert row.get("seeds", seeds) == seeds or row["ours"] == "-"
    assert f"Preset cpu, seeds {seeds};" in found[0]


@pytest.mark.parametrize(("bibkey", "preset"), EVERY)
def test_names_differ_in_more_than_case(bibkey: str, preset: Preset) -> None:
    names = list(runs_of(bibkey, preset))
    assert len({name.lower() for name in names}) == len(names)
