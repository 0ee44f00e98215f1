"""The programs of examples/ do what they say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Context, RecordDict
from sklearn.datasets import load_digits

from tests.support.flower_grid import Nodes, inside_flower

EXAMPLES = Path(__file__).parents[2] / "examples"
__all__ = ["inside_flower"]


def test_a_loop_of_ones_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "2"])
    net = runpy.run_path(str(EXAMPLES / "torch_optimizer/train.py"))["net"]
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 1", "epoch 2"]
    assert accuracy(net) > 0.8


@pytest.mark.usefixtures("inside_flower")
def test_swa_around_a_strategy_of_flower(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "flower_swa")
    monkeypatch.chdir(tmp_path)
    for name in ("server_app", "client_app"):  # of another app
        monkeypatch.delitem(sys.modules, name, raising=False)
    server, client = (__import__(name) for name in ("server_app", "client_app"))
    for name in ("server_app", "client_app"):
        monkeypatch.delitem(sys.modules, name)
    server.app(Nodes(4, app=client.app), Context(1, 1, {}, RecordDict(), {}))
    net = client.network()
    net.load_state_dict(torch.load("averaged.pt"))
    assert accuracy(net) > 0.6


def accuracy(net: Any) -> float:
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    with torch.no_grad():
        return float((net(images.float() / 16).argmax(1) == labels).float().mean())
