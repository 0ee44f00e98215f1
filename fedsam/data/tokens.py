"""Text as tokens: blocks for next-token prediction, and prompts with the answers that are to be learnt.

Shapes: N examples, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNCOUNTED = -100
"""The target of a place that does not count, a filled-up place or a token of a prompt; as in torch's losses."""


def in_blocks(tokens: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A text cut into blocks, in which each token's target is the next one; so blocks overlap by one token, and every
    token but the first is a target once. The last block is filled up.

    >>> inputs, targets = in_blocks(np.array([5, 6, 7, 8, 9, 3]), 3)
    >>> inputs.tolist(), targets.tolist()
    ([[5, 6, 7], [8, 9, 0]], [[6, 7, 8], [9, 3, -100]])

    Args:
        tokens: of the text.
        length: T.

    Returns:
        Inputs and targets, int64 [N, T].
    """
    count = max(0, len(tokens) - 1)
    blocks = -(-count // length)
    inputs = np.zeros(blocks * length, dtype=np.int64)
    targets = np.full(blocks * length, UNCOUNTED, dtype=np.int64)
    inputs[:count], targets[:count] = tokens[:count], tokens[1:]
    return inputs.reshape(-1, length), targets.reshape(-1, length)


def answering(prompt: Sequence[int], answer: Sequence[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """A prompt and its answer, of whose tokens alone the loss is made. What is longer than `length` + 1 is cut off.

    >>> inputs, targets = answering([5, 6, 7], [8, 9], 6)
    >>> inputs.tolist(), targets.tolist()
    ([5, 6, 7, 8, 0, 0], [-100, -100, 8, 9, -100, -100])

    Args:
        prompt: at least one token.
        answer: its last token may be one that ends it.
        length: T.

    Returns:
        Inputs and targets, int64 [T].
    """
    tokens = np.array([*prompt, *answer], dtype=np.int64)[: length + 1]
    inputs, targets = np.zeros(length, dtype=np.int64), np.full(length, UNCOUNTED, dtype=np.int64)
    inputs[: len(tokens) - 1] = tokens[:-1]
    targets[len(prompt) - 1 : len(tokens) - 1] = tokens[len(prompt) :]
    return inputs, targets
