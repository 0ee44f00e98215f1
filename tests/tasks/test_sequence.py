"""Sequences: the loss and the metrics of the tokens that count, against formulas, torchmetrics and sacrebleu."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam import InputError, Run, simulate
from fedsam.data.spec import Spec
from fedsam.data.tokens import UNCOUNTED, answering, in_blocks
from fedsam.engine.kernels.base import Head
from fedsam.federated.round_loop import Simulation
from fedsam.measure.evaluate import scores
from fedsam.params import Weights
from fedsam.rng import stream
from fedsam.tasks.base import Metric
from fedsam.tasks.sequence import Sequence
from fedsam.tasks.token_metrics import BLEU, BitsPerCharacter, Perplexity, TokenAccuracy, greedy
from tests.support.texts import LETTERS, T, Texts, V

N = 9


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [N, T, V], and targets of which some do not count; of the last example none does."""
    rng = stream(seed, "test of sequences")
    targets = rng.integers(V, size=(N, T))
    targets[rng.random((N, T)) < 0.3] = UNCOUNTED
    targets[-1] = UNCOUNTED
    return torch.from_numpy(rng.normal(size=(N, T, V))), torch.from_numpy(targets)


def of(metric: Metric, outputs: Tensor, targets: Tensor, parts: tuple[int, ...] = (N,)) -> float:
    """Its value, of batches of these sizes."""
    batches = zip(outputs.split(parts), targets.split(parts), strict=True)
    total = sum(metric.total(*batch) for batch in batches)
    assert isinstance(total, Tensor)
    found: float = metric.value(total.numpy())
    return found


def test_the_loss_is_that_of_torch() -> None:
    outputs, targets = drawn()
    head = Head(Sequence(), targets, float(N))
    expected = F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    assert torch.allclose(head.loss(outputs), expected, rtol=1e-13)
    leaf = outputs.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(F.cross_entropy(leaf.flatten(0, 1), targets.flatten()), leaf)
    assert torch.allclose(head(outputs)[1], wanted, atol=1e-15)


@pytest.mark.parametrize("parts", [(N,), (1,) * N, (4, 3, 2)])
def test_perplexity_and_accuracy_are_those_of_torchmetrics(parts: tuple[int, ...]) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    outputs, targets = drawn()
    perplexity = torchmetrics.text.Perplexity(ignore_index=UNCOUNTED)
    assert of(Perplexity(), outputs, targets, parts) == pytest.approx(float(perplexity(outputs, targets)), rel=1e-6)
    accuracy = torchmetrics.Accuracy("multiclass", num_classes=V, ignore_index=UNCOUNTED, average="micro")
    wanted = float(accuracy(outputs.flatten(0, 1), targets.flatten()))
    assert of(TokenAccuracy(), outputs, targets, parts) == pytest.approx(wanted, rel=1e-6)


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    outputs, targets = drawn()
    assert of(Perplexity(), outputs, targets) == pytest.approx(math.exp(Head(Sequence(), targets, N).loss(outputs)))
    even = torch.zeros(N, T, V, dtype=torch.float64)
    assert of(Perplexity(), even, targets) == pytest.approx(V)


def test_bits_per_character_divide_by_the_lengths_of_texts() -> None:
    texts = ["ab", "c", "", *["defg"] * (V - 3)]
    outputs, targets = drawn()
    bits = characters = 0.0
    for n in range(N):
        for t in range(T):
            if (y := int(targets[n, t])) != UNCOUNTED:
                bits -= math.log2(float(outputs[n, t].softmax(0)[y]))
                characters += len(texts[y])
    assert of(BitsPerCharacter(texts), outputs, targets, (4, 5)) == pytest.approx(bits / characters, rel=1e-12)


def test_what_does_not_count_changes_nothing() -> None:
    outputs, targets = drawn()
    other = torch.where((targets == UNCOUNTED)[..., None], 1e3 * outputs.flip(-1), outputs)
    longer = torch.cat([outputs, torch.full((N, 2, V), 7.0, dtype=torch.float64).cumsum(-1)], dim=1)
    further = torch.cat([targets, torch.full((N, 2), UNCOUNTED)], dim=1)
    metrics = Perplexity(), TokenAccuracy(), BitsPerCharacter(LETTERS)
    for found, wanted in ((other, targets), (longer, further)):
        assert torch.equal(Head(Sequence(), wanted, N).loss(found), Head(Sequence(), targets, N).loss(outputs))
        derivative = Head(Sequence(), wanted, N)(found)[1]
        assert not derivative[wanted == UNCOUNTED].any()
        for metric in metrics:
            assert of(metric, found, wanted) == of(metric, outputs, targets)


def test_a_batch_of_which_nothing_counts_has_no_loss() -> None:
    outputs, targets = drawn()
    loss, derivative = Head(Sequence(), targets[-1:], 1.0)(outputs[-1:])
    assert float(loss) == 0.0
    assert not derivative.any()


def test_blocks_hold_every_token_but_the_first_once_as_a_target() -> None:
    text = np.arange(100, 120)
    inputs, targets = in_blocks(text, 6)
    assert inputs.shape == targets.shape == (4, 6)
    counted = targets != UNCOUNTED
    assert targets[counted].tolist() == text[1:].tolist()
    assert (targets[counted] - inputs[counted] == 1).all()
    assert in_blocks(text[:1], 6)[0].shape == (0, 6)


def test_answers_alone_are_targets() -> None:
    inputs, targets = answering([1, 2, 3], [4, 5, 6], 8)
    assert inputs.tolist() == [1, 2, 3, 4, 5, 0, 0, 0]
    assert targets.tolist() == [UNCOUNTED, UNCOUNTED, 4, 5, 6, UNCOUNTED, UNCOUNTED, UNCOUNTED]
    assert [part.tolist() for part in answering([1, 2, 3], [4, 5, 6], 3)] == [[1, 2, 3], [UNCOUNTED, UNCOUNTED, 4]]


# decoding

WORDS = ["the ", "cat ", "dog ", "sat ", "on ", "a ", "mat ", "and ", "saw ", "it ", "<e>"]


def model(tokens_NT: Tensor) -> Tensor:
    """Logits that depend on all tokens up to a place, keyed by them."""
    places = torch.arange(1, tokens_NT.shape[1] + 1)
    seen_NT = (tokens_NT * places).cumsum(dim=1)
    table = torch.from_numpy(stream(0, "table").normal(size=(97, V)))
    return table[(7 * seen_NT + tokens_NT) % 97]


def prompts() -> tuple[Tensor, Tensor]:
    rng = stream(0, "prompts")
    pairs = [
        answering(rng.integers(V, size=p), [*rng.integers(V - 1, size=a), 10], 12) for p, a in ((2, 9), (5, 4), (4, 12))
    ]
    inputs, targets = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))


def slowly(inputs: list[int], targets: list[int]) -> list[int]:
    """An answer of one example, token by token."""
    first = next(t for t, y in enumerate(targets) if y != UNCOUNTED)
    tokens, answer = inputs[: first + 1], []
    while len(tokens) <= len(inputs):
        answer.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
        tokens.append(answer[-1])
    return answer


def test_greedy_decoding_looks_at_prompts_alone() -> None:
    inputs, targets = prompts()
    found = greedy(model, inputs, targets)
    for n in range(len(inputs)):
        first = int((targets[n] != UNCOUNTED).nonzero()[0])
        assert found[n, first:].tolist() == slowly(inputs[n].tolist(), targets[n].tolist())
    hidden = torch.where((targets != UNCOUNTED).cumsum(1) > 1, 0, inputs)
    assert torch.equal(greedy(model, hidden, targets), found)


@pytest.mark.parametrize("end", [None, 10])
@pytest.mark.parametrize("parts", [(3,), (1, 2)])
def test_bleu_is_that_of_the_corpus(end: int | None, parts: tuple[int, ...]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    inputs, targets = prompts()

    def text(tokens: list[int]) -> str:
        tokens = tokens[: tokens.index(end)] if end in tokens else tokens
        return "".join(WORDS[token] for token in tokens)

    said, true = [], []
    for each, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
        answer = [y for y in wanted if y != UNCOUNTED]
        said.append(text(slowly(each, wanted)[: len(answer)]))
        true.append(text(answer))
    metric, total = BLEU(WORDS, end), torch.zeros(10, dtype=torch.float64)
    for some, wanted in zip(inputs.split(parts), targets.split(parts), strict=True):
        total = metric.joined(total, metric.judged(model, some, model(some), wanted))
    expected = sacrebleu.corpus_bleu(said, [true]).score
    assert expected > 0
    assert metric.value(total.numpy()) == pytest.approx(expected, rel=1e-12)


def test_bleu_is_100_where_answers_are_right() -> None:
    inputs, targets = prompts()
    for _ in range(12):  # answers become what the model says
        said = greedy(model, inputs, targets)
        counted = targets != UNCOUNTED
        targets = torch.where(counted, said, targets)
    assert BLEU(WORDS).value(BLEU(WORDS).judged(model, inputs, model(inputs), targets).numpy()) == pytest.approx(100)


# in a run


def described(**changes: Any) -> Run:
    keys = {"data.name": "tests.support.texts:Texts", "model.name": "transformer", "cohort": 3, "rounds": 1}
    return Run.from_keys({**keys, "engine.name": "loop", "engine.threads": 1, **changes})


def test_a_run_records_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    record = simulate(described(**{"task.extra_metrics": "all"})).metrics[-1]
    assert record["test_perplexity"] == pytest.approx(math.exp(record["test_loss"]))
    names = {"test_perplexity", "test_loss", "test_token_accuracy", "test_bits_per_character", "test_bleu"}
    assert names <= set(record)


def test_batches_of_evaluation_are_smaller_where_outputs_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation(described())
    store, given = simulation.context.place(simulation.federation.test), []
    outputs = simulation.context.network.evaluated

    def evaluated(theta_P: Tensor, inputs: Tensor, *of: Tensor) -> Tensor:
        given.append(len(inputs))
        return outputs(theta_P, inputs, *of)

    monkeypatch.setattr(simulation.context.network, "evaluated", evaluated)
    whole = scores(simulation.context, Weights(simulation.theta_P), store, [Perplexity()])
    monkeypatch.setattr("fedsam.engine.context.OUTPUTS", 6 * T * V + 1)
    parts = scores(simulation.context, Weights(simulation.theta_P), store, [Perplexity()])
    assert given == [20, 6, 6, 6, 2]
    assert parts[0] == pytest.approx(whole[0])


def test_a_sequence_has_a_class() -> None:
    for name in ("transformer", "lstm"):
        record = simulate(described(**{"data.name": "tests.support.texts:Moods", "model.name": name})).metrics[-1]
        assert 0 <= record["test_accuracy"] <= 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "images": (
        {"data.name": "digits", "data.partition": "iid", "model.name": "mlp", "task.name": "sequence"},
        r"task\.name = sequence: needs tokens",
    ),
    "a model of images": ({"model.name": "cnn"}, r"model\.name = cnn: needs images.*use lstm, mlp, transformer"),
    "tokens for a model": ({"data.name": "digits"}, r"model\.name = transformer: needs tokens"),
    "heads": ({"model.heads": 3}, r"model\.heads = 3: must be a divisor of model\.width = 64"),
    "no targets of tokens": (
        {"data.name": "tests.support.texts:Moods", "task.name": "sequence"},
        r"task\.name = sequence: needs a token as the target of each token",
    ),
    "no texts": (
        {"data.name": "tests.tasks.test_sequence:Nameless", "task.extra_metrics": "bits_per_character"},
        r"task\.extra_metrics = bits_per_character: bits_per_character needs the texts of the tokens",
    ),
    "label noise": ({"data.label_noise": 0.1}, r"data\.label_noise = 0\.1: needs classes"),
    "a token too many": (
        {"data.name": "tests.tasks.test_sequence:Beyond"},
        "training set has the token 11, must be from 0 to 10",
    ),
    "a negative target": (
        {"data.name": "tests.tasks.test_sequence:Negative"},
        "has the class -1, must be from 0 to 10",
    ),
}


class Nameless(Texts):
    def read(self) -> Any:
        splits = super().read()[1:]
        return Spec(V, (T,), dtype="int64", target_shape=(T,), vocabulary=V), *splits


class Beyond(Texts):
    def read(self) -> Any:
        spec, train, test = super().read()
        train.inputs[3, 2] = V
        return spec, train, test


class Negative(Texts):
    def read(self) -> Any:
        spec, train, test = super().read()
        train.targets[3, 2] = -1
        return spec, train, test


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_is_refused(case: str) -> None:
    changes, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as error:
        Simulation(described(**changes))
    assert "\n" not in str(error.value)


def test_missing_sacrebleu_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *of: None if name == "sacrebleu" else found(name, *of))
    with pytest.raises(InputError, match=r"needs sacrebleu; install it by pip install \"fedsam\[text\]\""):
        Simulation(described(**{"task.extra_metrics": "bleu"}))
