"""Client optimisers: how a client turns gradients into steps. One optimiser, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.optim.adamw import AdamW
    from fedsam.optim.adversarial import Adversarial
    from fedsam.optim.asam import ASAM
    from fedsam.optim.esam import ESAM
    from fedsam.optim.fsam import FSAM
    from fedsam.optim.gsam import GSAM
    from fedsam.optim.late import Late
    from fedsam.optim.lion import Lion
    from fedsam.optim.lookahead import Lookahead
    from fedsam.optim.lookbehind import Lookbehind
    from fedsam.optim.looksam import LookSAM
    from fedsam.optim.multistep import Multistep
    from fedsam.optim.muon import Muon
    from fedsam.optim.sam import SAM
    from fedsam.optim.samon import SAMON
    from fedsam.optim.sgd import SGD
    from fedsam.optim.wsam import WSAM

__all__ = [
    "ASAM",
    "ESAM",
    "FSAM",
    "GSAM",
    "SAM",
    "SAMON",
    "SGD",
    "WSAM",
    "AdamW",
    "Adversarial",
    "Late",
    "Lion",
    "LookSAM",
    "Lookahead",
    "Lookbehind",
    "Multistep",
    "Muon",
]
__getattr__ = short("fedsam.optim")
