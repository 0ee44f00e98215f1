"""What both sides know: the data, the model, and how clients train."""

from typing import Any

from fedsam import Run
from fedsam.data import Digits
from fedsam.optim import ASAM


def described(config: dict[str, Any]) -> Run:
    """The run; each of 20 nodes is a client, which keeps a fifth of its images for its own test."""
    return Run(data=Digits(clients=20, local_test=0.2), client=ASAM(rho=float(config["rho"]), epochs=1))
