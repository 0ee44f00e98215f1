"""From a description to what it describes: the loaded data, and the context that all clients share."""

from __future__ import annotations

from dataclasses import replace

from fedsam.border.budget import must_fit
from fedsam.border.requirements import check_requirements
from fedsam.data.base import Federation, Split
from fedsam.data.images.pixels import with_normalisation
from fedsam.data.images.spec import ImageSpec
from fedsam.data.validation import federation_of
from fedsam.engine.context import RunContext
from fedsam.errors import InputError, under
from fedsam.federated.memory import of_training
from fedsam.models.initialise import Form
from fedsam.models.last_layer import last_layer
from fedsam.params import layout_of, theta_of
from fedsam.run import Run
from fedsam.transforms.pipeline import Transforms

FEW = 8
"""Examples that are tried before the first round."""


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
            federation = federation_of(run.data, run.seed, run.cohort, run.learnt)
    if run.cohort > federation.clients:
        raise InputError("cohort", run.cohort, f"must be at most {federation.clients}, the clients of the data set")
    spec, task = with_normalisation(federation.spec, run.data.pixels), run.learnt
    if not isinstance(spec, ImageSpec):
        offered = task.offers | (run.data.offers - {"images"})
        check_requirements(run, offered, f"what data.name={run.data.name} loads")
    with under("task"):
        outputs = task.output_shape(spec)
        task.check_targets(federation.test.targets)
        task = task.on(spec)
    with under("model"):
        module = run.model.module(spec.shape, spec.classes or outputs[0], run.seed, Form.of(spec, outputs))
    layout = layout_of(module)
    with under("client"):
        run.client.check_model(layout)
    parts = run.data.augment, run.client, run.server
    context = RunContext(
        module, layout, spec, task, *parts, device, run.engine.precision, run.seed, run.rounds, run.keys()
    )
    context.transforms = Transforms.of(run.compress, run.privacy, run.seed)
    if run.privacy.active and context.batchnorms and run.server.batchnorm == "average":
        allowed = (
            "batch normalisation's statistics are no clipped vector; use model.norm=group, or server.batchnorm=local"
        )
        raise InputError("privacy.name", run.privacy.name, allowed)
    if "ids" in context.client_state:
        allowed = "its clients keep vectors called ids, which in a checkpoint is whose they are; call them otherwise"
        raise InputError("server.name", run.server.name, allowed)
    context.sample = Split(federation.test.inputs[:FEW], federation.test.targets[:FEW])
    if run.server.personal:
        inputs = context.prepare(context.place(context.sample).inputs)
        last = last_layer(context.network, theta_of(context.module), inputs)
        context.layout = replace(context.layout, last=last)
    with under("server"):
        run.server.check_model(context.layout)
    must_fit(of_training(run, federation, context))
    return federation, context
