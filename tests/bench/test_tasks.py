"""What `fedsam bench tasks` times: the same steps, ours and by hand."""

from __future__ import annotations

import pytest
import torch

from fedsam import Run
from fedsam.bench import tasks
from fedsam.engine.context import numerics
from fedsam.federated.round_loop import Simulation

SMALL = {
    "U-Net": {
        "data.size": 16,
        "data.domain_samples": 8,
        "data.domain_test_samples": 2,
        "data.clients": 10,
        "model.width": 4,
    },
    "transformer": {"data.length": 512, "data.clients": 400, "model.depth": 1, "client.batch_size": 4},
    "LoRA on a ViT": {"data.samples_per_client": 20, "client.batch_size": 10, "model.num_layers": 1},
    "MLP on a table": {},
}


@pytest.mark.parametrize("case", tasks.CASES)
@pytest.mark.parametrize("method", tasks.METHODS)
def test_both_are_the_same_steps(case: str, method: str) -> None:
    keys, ascent, optimizer = tasks.METHODS[method]
    run = Run.from_keys({**tasks.ROUND, **tasks.CASES[case], **SMALL[case], **keys, "engine.precision": "fp64"})
    with numerics("fp64"):
        simulation = Simulation(run)
        ours, hand = tasks.Ours(simulation).train(), tasks.ByHand(simulation, ascent, optimizer).train()
    assert len(ours) == len(hand) == tasks.COHORT
    for one, other in zip(ours, hand, strict=True):
        assert float(torch.linalg.vector_norm(other)) > 0
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_rows_are_over_the_loop_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CASES", {"MLP on a table": tasks.CASES["MLP on a table"]})
    rows = list(tasks.rows(1))
    assert [row.variant for row in rows[:2]] == ["MLP on a table: sgd", "MLP on a table: sgd by hand"]
    assert [row.limit_ratio for row in rows if row.variant.endswith("by hand")] == [1.0] * len(tasks.METHODS)
    assert [bool(row.note) for row in rows] == [False] * 6 + [True, False]
