"""Whether what was seen of a run is as it must be on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.fake_cuda.rounds import Walked

ALLOWED = {
    "copy to device, fedsam/engine/context.py RunContext.place": "data that are not on the device yet",
    "copy to device, fedsam/data/augment/colour_jitter.py _channels": "constants, kept from the first step on",
    "copy to device, fedsam/models/resize.py _matrix": "constants, kept from the first step on",
    "copy to device, fedsam/tasks/segmentation.py _table": "constants, kept from the first step on",
    "copy to device, fedsam/params.py Layout.where": "constants, kept from the first step on",
    "copy to device, fedsam/params.py Layout.owners": "constants, kept from the first step on",
    "copy to device, fedsam/models/dropout.py _table": "constants, kept from the first step on",
    "item, strategies/averages/swa.py SWA.update": "a count that a resumption put on the device, once",
    "copy to host, fedsam/measure/evaluate.py scores.<locals>.<listcomp>": "q-FedAvg weighs by losses before the round",
    "item, fedsam/measure/evaluate.py scores": "likewise",
}
"""Waits inside a round that there may be, each with the reason."""


def complaints(walked: Walked, allowed: dict[str, str] = ALLOWED) -> Iterator[str]:
    """What is wrong; nothing if all is well.

    Args:
        walked: the run.
        allowed: waits inside a round.
    """
    if walked.error:
        yield walked.error
    for n, seen in enumerate(walked.rounds):
        for wait, count in seen["waits"].items():
            if wait not in allowed:
                yield f"round {n + 1} waits for the device {count} times: {wait}"
    for what, count in walked.refused.items():
        yield f"a CUDA graph cannot hold this ({count} times): {what}"
