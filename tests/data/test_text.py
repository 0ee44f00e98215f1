"""Texts in files and in LEAF's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.data.leaf import Leaf
from fedsam.data.stored import StoredFederation
from fedsam.data.text import Text
from fedsam.data.tokens import UNCOUNTED
from fedsam.data.vocabulary import Vocabulary

TRAIN = {"b": "abab cab\nba", "a": "cc bb aa\n"}
TEST = {"b": "dab\n", "c/d": "abba"}


def write(root: Path, **parts: dict[str, str]) -> None:
    for part, texts in parts.items():
        for name, text in texts.items():
            path = root / ("" if part == "all" else part) / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def load(root: Path, **keys: Any) -> StoredFederation:
    found = Text(root=str(root), **{"length": 4, **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


def spelt(federation: StoredFederation, tokens: np.ndarray) -> str:
    return "".join("_" if token == UNCOUNTED else federation.spec.names[token] or "." for token in tokens.tolist())


def rows(federation: StoredFederation, client: int) -> list[tuple[str, str]]:
    """Inputs and targets of a client."""
    store, (own,) = federation.examples([client])
    return [(spelt(federation, store.inputs[at]), spelt(federation, store.targets[at])) for at in own]


def test_a_file_is_a_client_and_its_text_is_cut_into_blocks(tmp_path: Path) -> None:
    write(tmp_path, train=TRAIN, test=TEST)
    federation = load(tmp_path)
    assert federation.spec.groups == ("a", "b", "c/d")
    assert federation.spec.names == ("", "\n", " ", "a", "b", "c", "\ufffd")
    assert federation.clients == 2
    assert rows(federation, 0) == [("cc b", "c bb"), ("b aa", " aa\n")]
    assert rows(federation, 1) == [("abab", "bab "), (" cab", "cab\n"), ("\nb..", "ba__")]
    inputs = [spelt(federation, row) for row in federation.test.inputs]
    assert inputs == ["\ufffdab.", "abb."]  # no training text has a d
    assert federation.test.groups is not None
    assert federation.test.groups.tolist() == [1, 2]


def test_lines_are_examples(tmp_path: Path) -> None:
    write(tmp_path, train=TRAIN, test=TEST)
    federation = load(tmp_path, examples="lines")
    assert rows(federation, 1) == [("abab", "bab "), ("b...", "a___")]
    assert len(federation.test) == 2


def test_words_are_tokens_and_rare_ones_are_not_known(tmp_path: Path) -> None:
    write(tmp_path, train={"a": "to be or not to be that"}, test={"a": "to sleep"})
    federation = load(tmp_path, tokens="words", vocabulary=2)
    assert federation.spec.names == ("", "be ", "to ", "\ufffd")
    assert rows(federation, 0) == [("to be \ufffd\ufffd", "be \ufffd\ufffdto "), ("to be ..", "be \ufffd__")]


def test_without_folders_the_last_tenth_is_for_test(tmp_path: Path) -> None:
    write(tmp_path, all={"a": "0123456789" * 4, "b": "\n".join("abcdefghij")})
    federation = load(tmp_path, length=5)
    assert rows(federation, 0)[0] == ("01234", "12345")
    assert spelt(federation, federation.test.inputs[0]) == "678.."
    lines = Text(root=str(tmp_path), length=3, examples="lines")
    with pytest.raises(InputError, match="no training text has two tokens"):
        lines.load(0)


def test_texts_are_learnt_with_unseen_ones(tmp_path: Path) -> None:
    write(tmp_path, all={name: f"{name} and so on. " * 6 for name in ("one", "two", "three")})
    data = Text(root=str(tmp_path), length=8, unseen="two")
    model = {"name": "lstm", "width": 8, "embedding": 4}
    last = fedsam.simulate(Run(data=data, model=model, cohort=2, rounds=1)).metrics[-1]
    assert {"test_perplexity", "unseen_perplexity"} <= set(last)


def test_bad_texts_are_named(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(InputError) as error:
            load(tmp_path)
        return str(error.value)

    assert "there is no *.txt in" in refused()
    write(tmp_path, train=TRAIN, test=TEST)
    path = tmp_path / "train/b.txt"
    path.write_bytes(b"good\nb\xe9d\n")
    assert "train/b.txt: byte 0xe9 in line 2, column 2 is not UTF-8" in refused()
    path.write_text(" \n")
    assert "train/b.txt has no text" in refused()


def test_of_as_frequent_tokens_the_first_is_known() -> None:
    assert Vocabulary(["cba", "b"], "characters", 2).names == ("", "a", "b", "\ufffd")
    assert Vocabulary(["ab"], "characters", 9).filled(["ba", "", "abz"], 2).tolist() == [[2, 1], [0, 0], [1, 2]]


# LEAF


def leaf(root: Path, **users: list[tuple[Any, Any]]) -> None:
    data = {user: {"x": [x for x, _ in rows], "y": [y for _, y in rows]} for user, rows in users.items()}
    text = json.dumps({"users": list(users), "num_samples": [len(rows) for rows in users.values()], "user_data": data})
    for part in ("train", "test"):
        (root / part).mkdir()
        (root / part / "all.json").write_text(text)


def test_shakespeare_is_the_next_character_or_a_sequence(tmp_path: Path) -> None:
    leaf(tmp_path, romeo=[("but so", "f"), ("o", "h")], juliet=[("where", " ")])
    data = Leaf(root=str(tmp_path), length=4)
    federation = data.load(0)
    assert isinstance(federation, StoredFederation)
    names = federation.spec.names
    assert federation.groups_of(range(2)) == [["juliet"], ["romeo"]]
    assert [spelt(federation, row) for row in federation.train.inputs] == ["but ", "o...", "wher"]
    assert [names[y] for y in federation.train.targets] == ["f", "h", " "]
    from fedsam.tasks.sequence import Sequence

    following = data.learning(Sequence()).load(0)
    assert isinstance(following, StoredFederation)
    assert [spelt(following, row) for row in following.train.inputs] == ["t so", "o...", "here"]
    assert [spelt(following, row) for row in following.train.targets] == [" sof", "h___", "ere "]
    model = {"name": "lstm", "width": 8, "embedding": 4}
    for task, metric in (("auto", "test_accuracy"), ("sequence", "test_perplexity")):
        run = Run(data=data, model=model, task=task, cohort=2, rounds=1)
        assert metric in fedsam.simulate(run).metrics[-1]


def test_sent140_has_a_text_in_a_list(tmp_path: Path) -> None:
    row = ["1", "Mon", "NO_QUERY", "ann"]
    leaf(tmp_path, ann=[([*row, "so so happy"], "4"), ([*row, "sad"], "0")], bob=[([*row, "happy"], "4")])
    federation = Leaf(root=str(tmp_path), length=3, tokens="words").load(0)
    assert isinstance(federation, StoredFederation)
    assert federation.spec.vocabulary == 5
    assert federation.train.inputs.tolist() == [[3, 3, 1], [2, 0, 0], [1, 0, 0]]
    assert (federation.train.targets.tolist(), federation.spec.names) == ([1, 0, 1], ("0", "4"))
    with pytest.raises(InputError, match=r"user .ann. has an x of 5 texts, and data\.text_place = 9"):
        Leaf(root=str(tmp_path), text_place=9).load(0)
