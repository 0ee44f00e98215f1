"""The building of a model: keyed initialisation, and what a module must be to be trained here.

Shapes: B batch, H height, W width, C channels, L classes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from fedsam.batchnorm import replace_layers
from fedsam.errors import InputError
from fedsam.rng import stream

log = logging.getLogger("fedsam")

NORMS = "use torch.nn.GroupNorm or BatchNorm, or track_running_stats=False"


class UnkeyedDrawError(RuntimeError):
    """A torch operation drew random numbers that cannot be keyed, or where none may be drawn."""


class keyed_generator(TorchDispatchMode):  # type: ignore[no-untyped-call]  # noqa: N801 - a context manager
    """Inside, every torch operation that draws random numbers draws them from `generator`, none from the global one.

    So `torch.nn.init` and the constructors of `torch.nn` give the bits that they give after `torch.manual_seed(s)`
    where `generator` has the seed s, and global RNG state is neither read nor set. An operation that is given a
    generator of its own keeps it. NumPy's and Python's global generators are out of reach.

    Args:
        generator: on the device of the tensors that are drawn; None allows no draws at all.

    Raises:
        UnkeyedDrawError: an operation draws that takes no generator, or any does and `generator` is None.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = generator

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and the wrapper that it asks for would load torch's compiler (3 s)

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not _draws(func, args, kwargs):
            return func(*args, **kwargs)
        keyed = _keyed_form(func)
        if self.generator is None or keyed is None:
            raise UnkeyedDrawError(f"{func} draws random numbers from torch's global generator")
        return keyed(*args, **{**kwargs, "generator": self.generator})


def _draws(op: OpOverload[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether this call would draw from the global generator."""
    if torch.Tag.nondeterministic_seeded not in op.tags:
        return False
    arguments = op._schema.arguments
    given = {a.name: a.default_value for a in arguments if a.has_default_value()}
    given |= dict(zip((a.name for a in arguments), args, strict=False)) | kwargs
    # attention without dropout and RReLU in evaluation can draw, but do not
    idle = given.get("dropout_p") == 0.0 or given.get("training") is False
    return given.get("generator") is None and not idle


@lru_cache(maxsize=256)
def _keyed_form(op: OpOverload[..., Any]) -> OpOverload[..., Any] | None:
    """The overload of `op` that takes a generator and is the same otherwise: torch.rand has one of its own for that."""
    wanted = {(a.name, str(a.type)) for a in op._schema.arguments} | {("generator", "Optional[Generator]")}
    forms = [getattr(op.overloadpacket, name) for name in op.overloadpacket.overloads()]
    return next((form for form in forms if {(a.name, str(a.type)) for a in form._schema.arguments} == wanted), None)


def initial_generator(seed: int) -> torch.Generator:
    """The generator of a run's initial weights. It is a Mersenne twister that torch seeds with 32 bits and no more."""
    return torch.Generator().manual_seed(int(stream(seed, "init").integers(2**32)))


def initialised(build: Callable[[], Any], name: str, shape: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
    """The module that `build` returns, on the CPU, with keyed initialisation, and checked.

    Args:
        build: makes it, with torch's or its own initialisation.
        name: of the model, for messages.
        shape: H, W, C.
        classes: L.
        seed: of the run.

    Raises:
        InputError: building it fails, it is no module, it has a state besides its weights that training would change,
            it draws random numbers in training, has nothing to train, or does not map images [B, C, H, W] to logits
            [B, L].
    """
    height, width, channels = shape
    numbers = torch.linspace(-1.0, 1.0, 2 * height * width * channels, device="cpu")
    # channels last in memory, as batches are in training
    images_BCHW = numbers.view(2, height, width, channels).permute(0, 3, 1, 2)
    with keyed_generator(initial_generator(seed)), torch.device("cpu"), torch.no_grad():
        with _described(name, "building it"):
            module = build()
        if not isinstance(module, nn.Module):
            gave = f"gave an object of class {type(module).__name__}"
            raise InputError("name", name, f"{gave}, must be a callable that returns a torch.nn.Module")
        if any(is_lazy(tensor) for tensor in module.parameters()):
            with _described(name, f"a forward pass on images {list(images_BCHW.shape)}"):
                module(images_BCHW)
    module = replace_layers(module)
    _check_layers(module, name)
    _check_parameters(module, name)
    _check_forward(module, name, images_BCHW, classes)
    return module


def _check_layers(module: nn.Module, name: str) -> None:
    for path, layer in module.named_modules():
        kind = type(layer).__name__
        label = f"its layer {path!r} is {kind}" if path else f"it is {kind}"
        if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
            why = "its running statistics would be a state of each client, which is supported for BatchNorm alone"
            raise InputError("name", name, f"{label}: {why}; {NORMS}")
        if isinstance(layer, _DropoutNd) and layer.p > 0:
            why = "it draws from torch's global generator, so the run could not be reproduced"
            raise InputError("name", name, f"{label}: {why}; set p=0 or leave it out")


def _check_parameters(module: nn.Module, name: str) -> None:
    trainable = [(path, tensor) for path, tensor in module.named_parameters() if tensor.requires_grad]
    if not trainable:
        raise InputError("name", name, "has no parameters that require a gradient, so there is nothing to train")
    for path, tensor in trainable:
        if not tensor.is_floating_point():
            raise InputError("name", name, f"its parameter {path!r} is {tensor.dtype}, must be of a real type")
    for path, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise InputError("name", name, f"its state {path!r} is no tensor, so it cannot be saved with the model")


def _check_forward(module: nn.Module, name: str, images_BCHW: Tensor, classes: int) -> None:
    before = {path: buffer.clone() for path, buffer in module.named_buffers()}
    action = f"a forward pass on images {list(images_BCHW.shape)}"
    with keyed_generator(None), torch.no_grad(), _described(name, action):
        try:
            logits_BL = module(images_BCHW)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            # Tensor.view fails on what lies channels last in memory, where flatten and reshape copy
            log.info("model %s uses Tensor.view, so every batch is copied first; flatten or reshape is faster", name)
            module.register_forward_pre_hook(_make_contiguous, prepend=True)
            logits_BL = module(images_BCHW)
    if not isinstance(logits_BL, Tensor) or not logits_BL.is_floating_point():
        kind = logits_BL.dtype if isinstance(logits_BL, Tensor) else type(logits_BL).__name__
        raise InputError("name", name, f"gave {kind} for a batch of 2 images, must give logits [2, {classes}]")
    if logits_BL.shape != (2, classes):
        hint = "a callable with a parameter `classes` or `num_classes` is given their number"
        gave = f"gave {list(logits_BL.shape)} for a batch of 2 images"
        raise InputError("name", name, f"{gave}, must give logits [2, {classes}]; {hint}")
    for path, buffer in module.named_buffers():
        if path not in before or not torch.equal(buffer, before[path]):
            why = "a forward pass in training changes it: it would be a state of each client, which is not supported"
            raise InputError("name", name, f"its buffer {path!r} is no constant, {why}; for normalisation {NORMS}")


def _make_contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)


@contextmanager
def _described(name: str, action: str) -> Iterator[None]:
    """Say in one line what failed; the traceback of the model's own code stays attached."""
    try:
        yield
    except InputError:
        raise
    except UnkeyedDrawError as error:
        raise InputError("name", name, f"{action} is not reproducible: {error}; set dropout to 0") from error
    except (Exception, SystemExit) as error:  # code that ends the process would end it without a word
        first = (str(error).strip() or "no message").splitlines()[0]
        raise InputError("name", name, f"{action} failed ({type(error).__name__}: {first})") from error
