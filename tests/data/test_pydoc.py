"""The text of Python's documentation topics."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest

from fedsam import InputError, Run, simulate
from fedsam.data.base import Split
from fedsam.data.pydoc import CHARACTERS, Pydoc, encoded
from fedsam.data.tokens import UNCOUNTED
from fedsam.experiments import pydoc as demonstration
from fedsam.federated.round_loop import Simulation
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import compare


def text_of(split: Split, at: np.ndarray) -> str:
    """What these examples say: the first character, and every target that counts."""
    targets = split.targets[at]
    first = split.inputs[at[0], 0]
    return "".join(CHARACTERS[token] for token in (first, *targets[targets != UNCOUNTED]))


@pytest.mark.parametrize("length", [64, 7])
def test_topics_are_told_whole(length: int) -> None:
    spec, train, test = Pydoc(length=length).read()
    assert len(spec.groups) > 50
    assert train.groups is not None
    assert test.groups is not None
    for place in (0, len(spec.groups) // 2, len(spec.groups) - 1):
        parts = [text_of(split, np.flatnonzero(split.groups == place)) for split in (train, test)]
        whole = "".join(c if c in CHARACTERS else CHARACTERS[-1] for c in topics[spec.groups[place]])
        assert "".join(parts) == whole
        assert len(parts[1]) == max(2, round(len(whole) / 10))


def test_characters_have_a_place_each() -> None:
    assert len(set(CHARACTERS)) == len(CHARACTERS) == 97
    assert [CHARACTERS[token] for token in encoded("a \n~é\t")] == ["a", " ", "\n", "~", "\ufffd", "\ufffd"]


def described(**changes: Any) -> Run:
    keys = {"data.name": "pydoc", "data.length": 16, "model.name": "transformer", "model.width": 8, "cohort": 2}
    return Run.from_keys({**keys, "rounds": 1, "client.batch_size": 64, "engine.name": "loop", **changes})


def test_a_client_is_a_topic() -> None:
    simulation = Simulation(described())
    federation = simulation.federation
    _, train, _ = Pydoc(length=16).read()
    assert federation.clients == len(topics)
    store, index = federation.examples(range(federation.clients))
    assert store.groups is not None
    assert [len(np.unique(store.groups[at])) for at in index] == [1] * federation.clients
    assert sum(map(len, index)) == len(train)
    assert federation.digests == Simulation(described(seed=3)).federation.digests


def test_topics_can_be_held_out() -> None:
    record = simulate(described(**{"data.unseen": 3})).metrics[-1]
    assert 1 < record["test_perplexity"] < 97 * 2
    assert 1 < record["unseen_perplexity"] < 97 * 2


def test_a_python_without_topics_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="this Python came without pydoc_data"):
        Pydoc(length=9).read()


def test_the_demonstration_prints_its_table(tmp_path: Path) -> None:
    shown = demonstration.settings(tmp_path, rounds=1)
    small = {name: run.replace(cohort=1, data=run.data.replace(length=16)) for name, run in shown.items()}
    with Progress() as progress:
        comparison = compare(small, 1, progress)
    lines = demonstration.table(comparison).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["setting", "---", "AdamW", "SAM over AdamW"]
    for setting, runs in comparison.metrics.items():
        (records,) = runs.values()
        expected = [records[-1]["test_perplexity"], records[-1]["unseen_perplexity"]]
        assert demonstration.measured(comparison, setting)[0, :2].tolist() == expected
