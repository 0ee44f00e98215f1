"""Some parts of a model are trained, the rest is frozen."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.models.adapters.base import Adapter

LAST, NORMS, NOTHING = "last", "norms", "none"
NORMAL = _NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm


class Part(Adapter):
    """Last layers, norms or whatever is named are trained as they are; everything else is a constant.

    A frozen layer stays in the mode in which it was built: batch normalisation of one in training mode goes on to
    normalise by the batch.
    """

    trained: str = key(
        LAST,
        "parts that are trained whole, separated by commas: last (the last linear or convolutional layer), norms, or"
        " the ends of names of parts or parameters; none = nothing",
        "linear probing",
    )

    def adapted(self, module: nn.Module) -> nn.Module:
        """The same module, the rest of its parameters frozen.

        Raises:
            InputError: a name fits nothing.
        """
        chosen = [name for word in words(self.trained) for name in self._of(module, word)]
        for name, tensor in module.named_parameters():
            tensor.requires_grad_(name in chosen and tensor.requires_grad)
        return module

    def _of(self, module: nn.Module, word: str) -> list[str]:
        """The names of the parameters that a word means."""
        parts = dict(module.named_modules())
        if word == NOTHING:
            return []
        if word == LAST:
            layers = [name for name, part in parts.items() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)]
            wanted = layers[-1:]
        elif word == NORMS:
            wanted = [name for name, part in parts.items() if isinstance(part, NORMAL)]
        else:
            wanted = [name for name in parts if ends(name, word)]
        names = dict(module.named_parameters())
        within = tuple(f"{name}." if name else "" for name in wanted)
        found = [name for name in names if name.startswith(within) or ends(name, word)]
        if not found:
            told = f"{word!r} fits no part of the model, whose parts are {', '.join(_some(names))}"
            raise InputError("trained", self.trained, told)
        return found


def words(listed: str) -> list[str]:
    """What a list separated by commas holds."""
    return [word.strip() for word in listed.split(",") if word.strip()]


def ends(name: str, word: str) -> bool:
    """Whether a name is a word, or ends with it after a dot."""
    return name == word or name.endswith(f".{word}")


def _some(names: dict[str, nn.Parameter]) -> list[str]:
    parts = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return parts if len(parts) <= 6 else [*parts[:3], "...", *parts[-2:]]
