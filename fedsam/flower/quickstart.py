"""A minimal Flower app as a process of its own, by which the start of a run on Flower is judged:
`python -m fedsam.flower.quickstart NODES FILE` does one round of FedAvg with a linear model on all nodes, as Flower's
own quickstart does, and makes the file once that round has been aggregated.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # read as flwr is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

client = ClientApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """One step on ten random images."""
    model = nn.Linear(64, 10)
    model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(torch.randn(10, 64)), torch.arange(10)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": 10})})
    return Message(content, reply_to=message)


def main(nodes: int, file: Path) -> None:
    """Run it."""
    server = ServerApp()

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_train=1.0, min_train_nodes=nodes, min_available_nodes=nodes, fraction_evaluate=0.0)
        strategy.start(grid, ArrayRecord(nn.Linear(64, 10).state_dict()), num_rounds=1)
        file.touch()

    run_simulation(server, client, nodes, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
