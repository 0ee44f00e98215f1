"""Keys for type checkers; written by `make format`, see `fedsam.reference.held`."""

from __future__ import annotations

from fedsam.config import Component, Config


class BaseKeys(Config):
    """Those handed to a `BaseOptimizer`."""

    batch_size: int = 8
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float | None = None
    decay: float = 0.998
    drop: float = 0.1
    drops: int = 3
    epochs: int = 2
    epsilon: float = 1e-08
    local_end: float = 0.0
    local_schedule: Component | str = "constant"
    local_share: float = 0.2
    lr: float = 0.1
    lr_min: float = 0.0
    momentum: float = 0.95
    nesterov: bool = True
    period: float = 0.25
    persistent: bool = False
    rest: float = 0.015
    schedule: Component | str = "constant"
    skip: str | None = None
    weight_decay: float = 0.0


class WrapperKeys(Config):
    """Those handed to a `Wrapper`."""

    attack: Component | str = "pgd"
    base: Component | str = "sgd"
    batch_size: int = 8
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float | None = None
    decay: float = 0.998
    drop: float = 0.1
    drops: int = 3
    epochs: int = 2
    epsilon: float = 1e-08
    eta: float | None = None
    layers: str = "norm"
    local_end: float = 0.0
    local_schedule: Component | str = "constant"
    local_share: float = 0.2
    lr: float = 0.1
    lr_min: float = 0.0
    momentum: float = 0.95
    nesterov: bool = True
    norm: str = "linf"
    period: float = 0.25
    persistent: bool = False
    random_start: bool = True
    rest: float = 0.015
    rho: float = 0.7
    scaling: str = "weights"
    schedule: Component | str = "constant"
    skip: str | None = None
    step_size: float = 0.00784313725490196
    steps: int = 10
    weight_decay: float = 0.0
