"""FedPer: some layers of the model stay with their clients."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext, State
from fedsam.config import key
from fedsam.errors import InputError
from fedsam.params import Layout
from fedsam.strategies.fedavg import FedAvg


class FedPer(FedAvg):
    """Each client trains w = (shared layers as sent, personal layers as it left them) and sends the shared ones alone.

    The server's step is FedAvg's, and moves shared layers only: w_B ← w_B + lr · Σ p_k Δ_{k,B}. At first all clients
    have the same personal layers. Arivazhagan et al. 2019 (arXiv 1912.00818), algorithms 1 and 2, where clients weigh
    by their examples, too. `keep=last` keeps the classifier, as there; patterns of the first layers give the local
    representations of Liang et al. 2020 (LG-FedAvg, arXiv 2001.01523), and `keep=*norm*` those of normalisation. What
    stays is said when a run begins.

    The global model has the personal layers that nobody trained, so that its `test_*` say little: what clients have is
    measured on their own test sets (`data.local_test=0.2 local.every=10`). What stays is no traffic; over Flower's
    messages zeros travel in its place.
    """

    client_state: ClassVar[tuple[str, ...]] = ("own",)
    client_numbers: ClassVar[tuple[str, ...]] = ("begun",)

    keep: str = key(
        "last",
        "what stays with a client: patterns of parameters' names, as conv1.*+conv2.*; last = the layer of the output",
        "Arivazhagan et al. 2019: the classifier",
        min_length=1,
    )

    def staying(self, layout: Layout) -> list[str]:
        """Those of `keep`."""
        if self.keep == "last":
            return list(layout.last)
        patterns = re.split("[+,]", self.keep)
        return [name for name in layout.names if any(fnmatchcase(name, pattern.strip()) for pattern in patterns)]

    def check_model(self, layout: Layout) -> None:
        """Something must stay, and something be shared."""
        kept, some = self.staying(layout), ", ".join(layout.names[-4:])
        if not kept:
            raise InputError("keep", self.keep, f"fits no parameter of this model; its last are {some}")
        if len(kept) == len(layout.names):
            raise InputError("keep", self.keep, f"fits all parameters, so that nothing is shared; its last are {some}")

    def own(self, theta_P: Tensor, state: State, layout: Layout) -> Tensor:
        """Shared layers as they are, personal ones as the client left them."""
        stays_P = layout.where(self.staying(layout), theta_P.device) & (state["begun"] > 0)
        return torch.where(stays_P, state["own"], theta_P)

    def shared(self, theta_P: Tensor, sent_P: Tensor, layout: Layout) -> Tensor:
        """Personal layers as they were sent."""
        return torch.where(layout.where(self.staying(layout), theta_P.device), sent_P, theta_P)

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """It keeps its model, of which `own` takes the personal layers."""
        return {"own": theta_P, "begun": torch.ones_like(client.state["begun"])}, {}
