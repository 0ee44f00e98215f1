"""ASAM on a U-Net with masks, against Kwon et al., ICML 2021, algorithm 1, in plain PyTorch and float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam import Run
from fedsam.engine.loop import train_one
from fedsam.federated.round_loop import Simulation
from tests.oracles import asam

RHO, ETA, LR, DECAY, MOMENTUM = 0.7, 0.2, 0.05, 0.01, 0.9
CLIENT = 3  # has five examples: batches of 2, 2 and 1


def simulation(**keys: object) -> Simulation:
    common = {
        "data.name": "tests.support.scenes:Scenes",
        "data.augment": "scale_crop",
        "model.name": "unet",
        "model.width": 4,
        "client.name": "asam",
        "client.rho": RHO,
        "client.lr": LR,
        "client.weight_decay": DECAY,
        "client.momentum": MOMENTUM,
        "client.batch_size": 2,
        "client.epochs": 2,
        "cohort": 5,
        "engine.name": "loop",
        "engine.threads": 1,
        "engine.precision": "fp64",
    }
    return Simulation(Run.from_keys(common | keys))


def both(steps: int, scaling: str = "weights", least: int = 1) -> tuple[Tensor, Tensor]:
    """What a client's weights change by in so many steps: ours, and by hand.

    Args:
        least: dimensions of the tensors that are scaled by hand.
    """
    here = simulation(**{"client.scaling": scaling})
    context, order = here.context, here.order_of(0, LR, [CLIENT], np.ones(1))
    split, (plan,) = context.plan(here.federation, order)
    plan, store = plan.first(steps), context.store(split)
    ours_P = train_one(context, here.theta_P, store, plan, order).theta_P - here.theta_P

    module = copy.deepcopy(context.module).train()
    names = [name if p.dim() >= least else "" for name, p in module.named_parameters()]
    weights = [p.detach().clone() for p in module.parameters()]
    velocity, start = [torch.zeros_like(w) for w in weights], [w.clone() for w in weights]
    for t, count in enumerate(plan.count_T):
        index = torch.from_numpy(plan.index_TB[t, :count])
        draws = {name: torch.from_numpy(each[t, :count]) for name, each in plan.draws.items()}
        # the same crops of images and masks: what these are is tested with the augmentation
        images, masks = context.batch(store.inputs[index], store.targets[index], draws, block=False)

        def gradients(at: list[Tensor], images: Tensor = images, masks: Tensor = masks) -> list[Tensor]:
            with torch.no_grad():
                for parameter, w in zip(module.parameters(), at, strict=True):
                    parameter.copy_(w)
            logits = module(images)
            loss = F.cross_entropy(logits, masks.long(), ignore_index=255)  # the mean over the batch's labelled pixels
            return list(torch.autograd.grad(loss, list(module.parameters())))

        sharp = asam.sharp_gradients(names, weights, gradients, RHO, scaling, ETA)
        # decay and momentum act at w
        velocity = [MOMENTUM * v + g + DECAY * w for v, g, w in zip(velocity, sharp, weights, strict=True)]
        weights = [w - LR * v for w, v in zip(weights, velocity, strict=True)]
    return ours_P, torch.cat([(w - s).reshape(-1) for w, s in zip(weights, start, strict=True)])


def apart(ours_P: Tensor, by_hand_P: Tensor) -> float:
    """The length of their difference, in lengths of one."""
    return float((ours_P - by_hand_P).norm() / by_hand_P.norm())


@pytest.mark.parametrize("scaling", ["weights", "all"])
@pytest.mark.parametrize("steps", [1, 6])
def test_asam_on_a_unet_is_that_of_its_algorithm(steps: int, scaling: str) -> None:
    assert apart(*both(steps, scaling)) <= 1e-11


def test_the_weights_of_normalisation_are_scaled_too() -> None:
    """By the name alone, as in the authors' code; to scale what has two or more dimensions is another method."""
    ours_P, by_hand_P = both(6, least=2)
    assert 0.05 < apart(ours_P, by_hand_P) < 1
