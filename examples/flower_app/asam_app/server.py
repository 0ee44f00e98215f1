"""The ServerApp."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from asam_app.task import described
from fedsam.flower.adapter import AsFlower
from fedsam.flower.local import initial_arrays
from fedsam.strategies import SWA, FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """FedAvg, with SWA over every second model of the last rounds; clients evaluate the average."""
    run, rounds = described(context.run_config), int(context.run_config["rounds"])
    strategy = AsFlower(FedAvg(), SWA(cycle=2), lr=0.1, fraction_train=0.5, fraction_evaluate=1.0)
    result = strategy.start(grid, initial_arrays(run), num_rounds=rounds)
    found = result.evaluate_metrics_clientapp[rounds]
    print(f"accuracy of the average on the clients' own images: {found['accuracy']:.3f}")
