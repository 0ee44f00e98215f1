"""From a description to what it describes: the loaded data, and the task that all clients share."""

from __future__ import annotations

from fedsam.border.budget import must_fit
from fedsam.data.base import Federation
from fedsam.data.images.pixels import with_normalisation
from fedsam.data.validation import federation_of
from fedsam.engine.context import RunContext
from fedsam.errors import InputError, under
from fedsam.federated.memory import of_training
from fedsam.params import layout_of
from fedsam.run import Run


def assemble(run: Run, federation: Federation | None = None) -> tuple[Federation, RunContext]:
    """Load a run's data and build its model, on the run's device.

    Args:
        federation: the run's data, if they are loaded already.

    Raises:
        InputError: something is missing or cannot be; the message names the key.
    """
    with under("engine"):
        device = run.engine.torch_device()
        run.engine.check_threads()
    if federation is None:
        with under("data"):
            federation = federation_of(run.data, run.seed, run.cohort)
    if run.cohort > federation.clients:
        raise InputError("cohort", run.cohort, f"must be at most {federation.clients}, the clients of the data set")
    spec, precision = with_normalisation(federation.spec, run.data.pixels), run.engine.precision
    with under("model"):
        module = run.model.module(spec.shape, spec.classes, run.seed)
    layout = layout_of(module)
    context = RunContext(
        module,
        layout,
        spec,
        run.data.augment,
        run.client,
        run.server,
        device,
        precision,
        run.seed,
        run.rounds,
        run.keys(),
    )
    must_fit(of_training(run, federation, context))
    return federation, context
