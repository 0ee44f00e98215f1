"""Client optimisers: how a client turns gradients into steps. One optimiser, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.optim.adamw import AdamW
    from fedsam.optim.adversarial import Adversarial
    from fedsam.optim.asam import ASAM
    from fedsam.optim.fsam import FSAM
    from fedsam.optim.gsam import GSAM
    from fedsam.optim.late import Late
    from fedsam.optim.lookahead import Lookahead
    from fedsam.optim.lookbehind import Lookbehind
    from fedsam.optim.looksam import LookSAM
    from fedsam.optim.multistep import Multistep
    from fedsam.optim.sam import SAM
    from fedsam.optim.sgd import SGD

__all__ = [
    "ASAM",
    "FSAM",
    "GSAM",
    "SAM",
    "SGD",
    "AdamW",
    "Adversarial",
    "Late",
    "LookSAM",
    "Lookahead",
    "Lookbehind",
    "Multistep",
]
__getattr__ = short("fedsam.optim")
