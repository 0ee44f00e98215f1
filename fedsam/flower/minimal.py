"""A minimal stock Flower app, to measure against: FedAvg, and clients that load the model and send it back, as those of
Flower's own quickstart do but for the training.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import nn

from fedsam.flower.client_app import app
from fedsam.flower.names import ARRAYS, EXAMPLES, METRICS
from fedsam.flower.runtime import silence
from fedsam.models.mlp import MLP

WIDTH = 10_640  # of an MLP with 798,010 parameters

STOCK = "train.stock"  # an action of its own, so that both apps run on the same nodes


@app.train("stock")
def send_back(message: Message, context: Context) -> Message:
    """A model with the weights that came, and its weights."""
    model = _model()
    model.load_state_dict(message.content.array_records[ARRAYS].to_torch_state_dict())
    arrays = ArrayRecord(model.state_dict())
    content = RecordDict({ARRAYS: arrays, METRICS: MetricRecord({EXAMPLES: 1})})
    return Message(content, reply_to=message)


@lru_cache(maxsize=1)
def _model() -> nn.Module:
    return MLP(width=WIDTH).module((8, 8, 1), 10, 0)


class _FedAvg(FedAvg):
    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        for message in super().configure_train(server_round, arrays, config, grid):
            yield Message(message.content, message.metadata.dst_node_id, STOCK)


class StockRounds:
    """Rounds as Flower's own `Strategy.start` takes them, with `cohort` of `clients` nodes and nothing to evaluate."""

    def __init__(self, grid: Grid, arrays: ArrayRecord, clients: int, cohort: int) -> None:
        silence()
        self.grid, self.arrays, self.number = grid, arrays, 0
        self.strategy = _FedAvg(fraction_train=cohort / clients, min_train_nodes=cohort, fraction_evaluate=0.0)

    def round(self) -> None:
        """Configure, send, wait, aggregate."""
        self.number += 1
        messages = self.strategy.configure_train(self.number, self.arrays, ConfigRecord(), self.grid)
        replies = self.grid.send_and_receive(messages, timeout=3600)
        arrays, _ = self.strategy.aggregate_train(self.number, replies)
        assert arrays is not None
        self.arrays = arrays
