"""The sentences of Kwon et al.'s translation, from files in fairseq's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fedsam
from experiments import kwon2021
from experiments.kwon2021.translation import Translation
from fedsam import InputError, Run
from fedsam.data.tokens import UNCOUNTED

FILES = {
    "train.de": "der hund be@@ llt\ndie katze sch@@ läft\nder hund sch@@ läft\n",
    "train.en": "the dog barks\nthe cat sle@@ eps\nthe dog sle@@ eps\n",
    "test.de": "die katze be@@ llt\n",
    "test.en": "the cat barks\n",
}


def write(root: Path, **changes: bytes) -> str:
    folder = root / "iwslt14.tokenized.de-en"
    folder.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_bytes(changes.get(name.replace(".", "_"), text.encode()))
    return str(root)


def test_the_answer_alone_counts(tmp_path: Path) -> None:
    spec, train, test = Translation(root=write(tmp_path), length=10).read()
    assert (len(train), len(test)) == (3, 1)

    def text(tokens: np.ndarray) -> str:
        return "".join(spec.names[token] for token in tokens)

    for split, which in ((train, "train"), (test, "test")):
        for n, (german, english) in enumerate(
            zip(FILES[f"{which}.de"].splitlines(), FILES[f"{which}.en"].splitlines(), strict=True)
        ):
            answer = split.targets[n][split.targets[n] != UNCOUNTED]
            assert text(answer) == f"{english} ".replace("@@ ", "")
            first = int(np.flatnonzero(split.targets[n] != UNCOUNTED)[0])
            assert text(split.inputs[n, : first + 1]) == f"{german} <to> ".replace("@@ ", "")
            assert split.inputs[n, first + 1 : first + len(answer)].tolist() == answer[:-1].tolist()


def test_a_prompt_without_room_for_an_answer_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path, train_de=b"der\na b c d e f g h i\ndie\n")
    assert len(Translation(root=root, length=6).read()[1]) == 2
    with pytest.raises(InputError, match=r"every prompt is longer than data\.length = 3"):
        Translation(root=root, length=3).read()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train_en": b"the dog barks\n"}, "train.de has 3 lines, train.en has 1"),
        ({"test_de": b"\n"}, "test.de has an empty line 1"),
        ({"train_de": b"a\nb\xff\nc\n"}, "train.de: byte 0xff in line 2, column 2 is not UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, changes: dict[str, bytes], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Translation(root=write(tmp_path, **changes)).read()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.de cannot be read: No such file"):
        Translation(root=str(tmp_path)).read()


def test_it_is_learnt_and_scored_by_bleu(tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    run = kwon2021.runs("gpu")["translation asam"]
    small = {"data.root": write(tmp_path), "data.length": 12, "model.width": 8, "model.depth": 1, "model.heads": 2}
    small |= {"rounds": 1, "evaluate_every": 1, "client.batch_size": 3, "engine.threads": 1}
    record = fedsam.simulate(Run.from_keys(run.keys() | small)).metrics[-1]
    assert {"test_perplexity", "test_bleu"} <= set(record)
