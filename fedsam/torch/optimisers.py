"""One class for each client optimiser that needs nothing but gradients. What each does is in `fedsam.optim`."""

from __future__ import annotations

from typing import Any, Literal, cast

from torch import nn
from torch.optim import SGD

from fedsam import optim
from fedsam.config import Component, find
from fedsam.errors import InputError
from fedsam.optim.base import ClientOptimizer, Perturbed
from fedsam.torch.wrapped import Base, Params, Wrapped

Ascent = Perturbed | Literal["sam", "asam"]
"""The perturbation: a name, or one with settings, as `fedsam.optim.ASAM(scaling="all")`."""


def default(cls: type[Component], field: str) -> Any:
    """The default of a field."""
    return cls.model_fields[field].default


def perturbed(ascent: Ascent, rho: float | None) -> Perturbed:
    """The perturbation with this radius; None leaves its own."""
    made = cast(Perturbed, find(ClientOptimizer, ascent)()) if isinstance(ascent, str) else ascent
    return made if rho is None else made.replace(rho=rho)


class SAM(Wrapped):
    """w ← base(w, ∇L(w + ε)), ε = ρ g / ‖g‖₂: `fedsam.optim.SAM`, two gradients a step."""

    def __init__(
        self, params: Params, base: Base = SGD, *, rho: float = default(optim.SAM, "rho"), **settings: Any
    ) -> None:
        super().__init__(params, base, optim.SAM(rho=rho), settings)


class ASAM(Wrapped):
    """SAM in coordinates scaled by |w|: `fedsam.optim.ASAM`, two gradients a step. `scaling="weights"` needs names."""

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float = default(optim.ASAM, "rho"),
        scaling: Literal["weights", "all"] = default(optim.ASAM, "scaling"),
        eta: float | None = default(optim.ASAM, "eta"),
        **settings: Any,
    ) -> None:
        super().__init__(params, base, optim.ASAM(rho=rho, scaling=scaling, eta=eta), settings)


class FSAM(Wrapped):
    """A perturbation along the mini-batch's own noise: `fedsam.optim.FSAM`, two gradients a step."""

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float | None = None,
        sigma: float = default(optim.FSAM, "sigma"),
        lmbda: float = default(optim.FSAM, "lmbda"),
        ascent: Ascent = "sam",
        **settings: Any,
    ) -> None:
        client = optim.FSAM(ascent=perturbed(ascent, rho), sigma=sigma, lmbda=lmbda)
        super().__init__(params, base, client, settings)


class GSAM(Wrapped):
    """SAM less α times the orthogonal part of the gradient: `fedsam.optim.GSAM`, two gradients a step."""

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float | None = None,
        alpha: float = default(optim.GSAM, "alpha"),
        ascent: Ascent = "sam",
        **settings: Any,
    ) -> None:
        super().__init__(params, base, optim.GSAM(ascent=perturbed(ascent, rho), alpha=alpha), settings)


class LookSAM(Wrapped):
    """SAM in every k-th step, its direction kept in the others: `fedsam.optim.LookSAM`, 1 + 1/k gradients a step."""

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float | None = None,
        k: int = default(optim.LookSAM, "k"),
        alpha: float = default(optim.LookSAM, "alpha"),
        ascent: Ascent = "sam",
        **settings: Any,
    ) -> None:
        super().__init__(params, base, optim.LookSAM(ascent=perturbed(ascent, rho), k=k, alpha=alpha), settings)


class Lookahead(Wrapped):
    """Slow weights that follow the fast ones every k steps: `fedsam.optim.Lookahead`, the inner one's gradients."""

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float | None = None,
        k: int = default(optim.Lookahead, "k"),
        alpha: float = default(optim.Lookahead, "alpha"),
        ascent: Ascent = "sam",
        **settings: Any,
    ) -> None:
        super().__init__(params, base, optim.Lookahead(ascent=perturbed(ascent, rho), k=k, alpha=alpha), settings)


class Lookbehind(Wrapped):
    """k steps of ascent and descent on each mini-batch: `fedsam.optim.Lookbehind`, k + 1 gradients a step."""

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float | None = None,
        k: int = default(optim.Lookbehind, "k"),
        alpha: float | Literal["adaptive"] = default(optim.Lookbehind, "alpha"),
        per_tensor: bool = default(optim.Lookbehind, "per_tensor"),
        ascent: Ascent = "sam",
        **settings: Any,
    ) -> None:
        client = optim.Lookbehind(ascent=perturbed(ascent, rho), k=k, alpha=alpha, per_tensor=per_tensor)
        super().__init__(params, base, client, settings)


class Multistep(Wrapped):
    """k steps of ascent before one of descent: `fedsam.optim.Multistep`, k + 1 gradients a step."""

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float | None = None,
        k: int = default(optim.Multistep, "k"),
        ascent: Ascent = "sam",
        **settings: Any,
    ) -> None:
        super().__init__(params, base, optim.Multistep(ascent=perturbed(ascent, rho), k=k), settings)


class SAMON(Wrapped):
    """SAM that perturbs normalisation layers only: `fedsam.optim.SAMON`, two gradients a step. It needs the module."""

    def __init__(
        self,
        params: nn.Module,
        base: Base = SGD,
        *,
        rho: float = default(optim.SAMON, "rho"),
        layers: Literal["norm", "others"] = default(optim.SAMON, "layers"),
        **settings: Any,
    ) -> None:
        if not isinstance(params, nn.Module):
            raise InputError("params", InputError.ABSENT, "must be the module itself, which says what normalises")
        super().__init__(params, base, optim.SAMON(rho=rho, layers=layers), settings)


class WSAM(Wrapped):
    """The sharpness by a weight of its own: `fedsam.optim.WSAM`, two gradients a step; decoupled, it has the first
    group's learning rate.
    """

    def __init__(
        self,
        params: Params,
        base: Base = SGD,
        *,
        rho: float | None = None,
        gamma: float = default(optim.WSAM, "gamma"),
        decouple: bool = default(optim.WSAM, "decouple"),
        ascent: Ascent = "sam",
        **settings: Any,
    ) -> None:
        super().__init__(
            params, base, optim.WSAM(ascent=perturbed(ascent, rho), gamma=gamma, decouple=decouple), settings
        )
