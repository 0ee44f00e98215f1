"""LoRA: a product of two narrow matrices beside each frozen linear layer.

Shapes: I inputs, O outputs, R rank.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.models.adapters.part import Part, ends, words


class LoRA(Part):
    """y = W x + b + (α / r) B A x, with W and b frozen, A [R, I] and B [O, R] trained; B begins with zeros.

    Hu et al., ICLR 2022, eq. 3 and section 4.1. A begins as torch's linear layers do, as in the authors' code and in
    peft. What is in `trained` is trained whole beside it, by default the last layer, which is new in most models that
    are fine-tuned. For more (other layers, DoRA, quantised weights) a callable may return a model of `peft`'s.
    """

    rank: int = key(8, "r, rank of the update of each layer", "8 in Hu et al. 2022, GLUE", ge=1, le=2**16)
    alpha: float = key(16.0, "α; the update is scaled by α / r", "16 in Hu et al. 2022, GLUE", gt=0.0, le=LARGE)
    targets: str = key(
        "",
        "layers beside which there is one, separated by commas: ends of their names; empty = every linear layer but the"
        " last, and those trained whole",
        "every linear layer in Dettmers et al. 2023",
    )

    def adapted(self, module: nn.Module) -> nn.Module:
        """The same module with such layers.

        Raises:
            InputError: a name fits no linear layer.
        """
        super().adapted(module)
        layers = {name: part for name, part in module.named_modules() if _linear(part) and not _inner(module, name)}
        whole = {name for name, part in layers.items() if any(p.requires_grad for p in part.parameters())}
        asked, last_name = words(self.targets), list(layers)[-1:]
        for word in asked:
            if not any(ends(name, word) for name in layers):
                told = f"{word!r} fits no linear layer of the model; there are {', '.join(layers) or 'none'}"
                raise InputError("targets", self.targets, told)
        for name, part in layers.items():
            wanted = any(ends(name, word) for word in asked) if asked else name not in last_name
            if wanted and name not in whole:
                path, _, last = name.rpartition(".")
                setattr(module.get_submodule(path), last, Beside(part, self.rank, self.alpha / self.rank))
        if not any(isinstance(part, Beside) for part in module.modules()):
            raise InputError("targets", self.targets, "the model has no linear layer to put one beside")
        return module


class Beside(nn.Module):
    """A frozen layer and what is trained beside it."""

    def __init__(self, base: nn.Module, rank: int, scale: float) -> None:
        super().__init__()
        weight: Tensor = base.weight  # type: ignore[assignment]
        outputs, inputs = weight.shape if isinstance(base, nn.Linear) else weight.shape[::-1]
        self.base, self.scale = base, scale
        self.down, self.up = nn.Parameter(weight.new_empty(rank, inputs)), nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        found: Tensor = self.base(x) + self.scale * nn.functional.linear(nn.functional.linear(x, self.down), self.up)
        return found


def _linear(part: nn.Module) -> bool:
    """Whether it is a linear layer: torch's, or `Conv1D` of transformers' GPT-2, whose weight is [I, O]."""
    theirs = type(part).__name__ == "Conv1D" and type(part).__module__.startswith("transformers.")
    return isinstance(part, nn.Linear) or theirs


def _inner(module: nn.Module, name: str) -> bool:
    """Whether a layer's weight is used past its forward, by torch's attention."""
    path = name.rpartition(".")[0]
    return isinstance(module.get_submodule(path), nn.MultiheadAttention) if path else False
