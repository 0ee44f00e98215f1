"""Whether a run has diverged, and what to do about it, from its own numbers.

Shapes: K clients of a block, P parameters.
"""

from __future__ import annotations

from torch import Tensor

from fedsam.border.outsized import outsized
from fedsam.errors import DivergedError
from fedsam.run import Run

UNUSUAL = 100.0
"""How many times its default a number of the optimiser or the strategy is, to be named before the learning rate."""
NO_CAUSE = ("batch_size", "epochs", "k", "drops", "switch", "state_memory", "public_images", "clip_norm")


def on_divergence(run: Run, usual: str = "lower client.lr or set client.clip_norm") -> str:
    """Which numbers to lower: those that are far from what they are by default, else the usual ones.

    Args:
        run: the description.
        usual: what helps where none is.
    """
    groups = {"client": run.client, "server": run.server}
    far = [
        f"{group}.{name} = {value:g}"
        for group, part in groups.items()
        for name, value in outsized(part, UNUSUAL).items()
        if name not in NO_CAUSE
    ]
    if not far:
        return usual
    others = " or set client.clip_norm" if any(name.startswith("client.lr ") for name in far[:2]) else f", or {usual}"
    return f"lower {' and '.join(far[:2])}{others}"


class Unchecked:
    """Numbers of clients that are NaN or infinite if something went wrong, not yet looked at: to look at them is to
    wait for the device.
    """

    def __init__(self) -> None:
        self._blocks: list[tuple[int, list[int], Tensor]] = []

    def add(self, round: int, ids: list[int], check_K: Tensor) -> None:
        """A block's, in a round counted from 1."""
        self._blocks.append((round, ids, check_K))

    def check(self, run: Run, done: int, theta_P: Tensor) -> None:
        """Look at them, and at the model after `done` rounds.

        Raises:
            DivergedError: something is not finite.
        """
        for round, ids, check_K in self._blocks:
            broken = [client for client, fine in zip(ids, check_K.isfinite().tolist(), strict=True) if not fine]
            if broken:
                shown = ", ".join(map(str, broken[:10])) + (f" and {len(broken) - 10} more" if len(broken) > 10 else "")
                some = f"client{'s' * (len(broken) > 1)} {shown}"
                raise DivergedError(f"round {round}: loss or update of {some} is not finite; {on_divergence(run)}")
        self._blocks.clear()
        if not bool(theta_P.sum().isfinite()):
            cure = on_divergence(run, "lower server.lr or client.lr")
            raise DivergedError(f"round {done}: the global model is not finite; {cure}")
