"""A stock Flower app that trains: FedAvg, and clients as those of Flower's quickstart, by a plain torch loop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.bench.common.work import Work
from fedsam.flower.client_app import app
from fedsam.flower.minimal import StockRounds
from fedsam.flower.names import ARRAYS, CONFIG, EXAMPLES, METRICS, PARTITION

ACTION = "train.work"  # an action of its own, so that both apps run on the same nodes
WORK = "work"


@app.train("work")
def train(message: Message, context: Context) -> Message:
    """One epoch of the node's images, from the weights that came."""
    text = str(message.content.config_records[CONFIG][WORK])
    work, device = Work.of_text(text), "cuda" if torch.cuda.is_available() else "cpu"
    model = _model(text).to(device)
    model.load_state_dict(message.content.array_records[ARRAYS].to_torch_state_dict())
    inputs, labels = (tensor.to(device) for tensor in _images(text, int(context.node_config[PARTITION])))
    optimizer = torch.optim.SGD(model.parameters(), lr=work.lr, weight_decay=work.decay)
    for index in torch.split(torch.arange(len(labels), device=device), work.batch):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[index]), labels[index]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    content = RecordDict({ARRAYS: ArrayRecord(model.state_dict()), METRICS: MetricRecord({EXAMPLES: len(labels)})})
    return Message(content, reply_to=message)


@lru_cache(maxsize=1)
def _model(text: str) -> nn.Module:
    return Work.of_text(text).module()


@lru_cache(maxsize=64)
def _images(text: str, client: int) -> tuple[Tensor, Tensor]:
    return Work.of_text(text).tensors(client)


class _Training(FedAvg):
    def __init__(self, work: Work) -> None:
        share = work.cohort / work.clients
        super().__init__(fraction_train=share, min_train_nodes=work.cohort, fraction_evaluate=0.0)
        self.text = work.text()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        for message in super().configure_train(server_round, arrays, ConfigRecord({WORK: self.text}), grid):
            yield Message(message.content, message.metadata.dst_node_id, ACTION)


class TrainingRounds(StockRounds):
    """Rounds of `work` as Flower's own `Strategy.start` takes them."""

    def __init__(self, grid: Grid, work: Work) -> None:
        super().__init__(grid, ArrayRecord(work.module().state_dict()), work.clients, work.cohort)
        self.strategy: FedAvg = _Training(work)  # type: ignore[assignment]
