"""What a run must have in memory at once, by the keys that decide it; see `fedsam.border.budget`.

Shapes: P parameters, K clients of a round.
"""

from __future__ import annotations

from fedsam.border.budget import Need
from fedsam.border.outsized import outsized
from fedsam.data.base import Federation
from fedsam.engine.context import RunContext
from fedsam.run import Run

SEEN = 1000  # clients by whose examples those of all are judged
VECTORS = 4  # of P numbers: module, global model, gradient, update
ROW = 3  # of P numbers for each client of a block: model, gradient, update


def of_training(run: Run, federation: Federation, context: RunContext) -> list[Need]:
    """What is there in every round, whatever the engine.

    Args:
        run: the description.
        federation: its data.
        context: of it.
    """
    vector = context.layout.total * context.dtype.itemsize
    clients, local = min(run.cohort, federation.clients), run.client.base_optimizer
    seen = federation.sizes(range(min(SEEN, federation.clients)))
    examples = clients * float(seen.mean()) * local.epochs
    kept = (
        min(federation.clients, run.rounds * run.cohort) * sum(context.client_state.values()) * context.dtype.itemsize
    )
    limit = 2**30 * run.server.state_memory
    each = not run.server.linear or run.diagnostics.every > 0
    size, of = next(iter(outsized(run.model).items()), ("name", run.model.name))[::-1]
    needs = [
        Need(f"model.{of}", size, f"{context.layout.total:,} parameters in training", VECTORS * vector),
        Need("client.epochs", local.epochs, "the order of a round's examples", 8 * examples),
        Need("server.state_memory", run.server.state_memory, "what clients keep", min(kept, limit)),
        Need("cohort", run.cohort, "the updates of a round", clients * vector if each else 0),
        Need("average.window", run.average.kept(run.rounds), "its models", run.average.kept(run.rounds) * vector),
    ]
    if run.engine.block:
        rows = min(run.engine.block, clients)
        needs.append(Need("engine.block", run.engine.block, f"a block of {rows} clients", ROW * rows * vector))
    needs += [need for part in (run.geometry, run.local) for need in part.needs(context.layout.total)]
    return needs
