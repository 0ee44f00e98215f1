"""What to do about a run that diverged, from its own numbers."""

from __future__ import annotations

from fedsam.config import outsized
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
