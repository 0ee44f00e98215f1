"""Any Flower strategy, with SWA around it."""

import torch
from client_app import network
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedsam.flower.averaged import Averaged
from fedsam.strategies import SWA

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Ten rounds; averages the models from the sixth on, and saves what it ends with."""
    strategy = Averaged(FedAvg(fraction_evaluate=0.0), SWA(start=0.5, cycle=2, lr_end=0.01), lr=0.1)
    result = strategy.start(grid, ArrayRecord(network().state_dict()), num_rounds=10)
    torch.save(result.arrays.to_torch_state_dict(), "averaged.pt")
