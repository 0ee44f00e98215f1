"""The building of a model: keyed initialisation, and what a module must be to be trained here.

Shapes: B batch, H height, W width, C channels, L classes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from fedsam.data.images.spec import ImageSpec
from fedsam.data.spec import Spec
from fedsam.errors import InputError
from fedsam.models.batchnorm import Keyed, replace_layers
from fedsam.models.compared import compare, copied
from fedsam.models.dropout import ATTENDS, DRAWS, KeyedDraws, keys
from fedsam.models.functional import evaluating, training_parts
from fedsam.models.outputs import UnreadError, outputs_of
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


def built(build: Callable[[], Any], name: str, inputs: Tensor, seed: int) -> nn.Module:
    """The module that `build` returns, on the CPU, with keyed initialisation, and otherwise untouched.

    Raises:
        InputError: building it fails, it is no module, or one that was compiled or is to run on several devices.
    """
    with keyed_generator(initial_generator(seed)), torch.device("cpu"), torch.no_grad():
        with _described(name, "building it"):
            module = build()
        if not isinstance(module, nn.Module):
            gave = f"gave an object of class {type(module).__name__}"
            raise InputError("name", name, f"{gave}, must be a callable that returns a torch.nn.Module")
        for path, part in module.named_modules():
            if why := _unfit(part):
                raise InputError("name", name, f"{_label(path, part)}, {why}; return the module itself")
        if any(is_lazy(tensor) for tensor in module.parameters()):
            with _described(name, f"a forward pass on {list(inputs.shape)}"):
                module(inputs)
    return module


@dataclass(frozen=True)
class Form:
    """What a model is given and must give.

    Args:
        inputs: two made-up examples, [2, ...].
        outputs: the shape of what it must give for one.
        shape: of one input as it is stored, of an image H, W, C.
        classes: L, or the other numbers that it must give.
        vocabulary: how many tokens there are, where inputs are tokens.
    """

    inputs: Tensor
    outputs: tuple[int, ...]
    shape: tuple[int, ...]
    classes: int
    vocabulary: int | None = None

    @classmethod
    def of_images(cls, shape: tuple[int, ...], classes: int) -> Form:
        """Images of `shape` (H, W, C), as [2, C, H, W] with the channels last in memory, as batches are in training;
        and logits of so many classes.
        """
        numbers = torch.linspace(-1.0, 1.0, 2 * math.prod(shape), device="cpu")
        return cls(numbers.view(2, *shape).movedim(-1, 1), (classes,), shape, classes)

    @classmethod
    def of(cls, spec: Spec, outputs: tuple[int, ...]) -> Form:
        """Inputs of a data set, in the type in which a model is given them."""
        classes = spec.classes or outputs[0]
        if isinstance(spec, ImageSpec):
            return replace(cls.of_images(spec.shape, classes), outputs=outputs)
        elements = 2 * math.prod(spec.shape)
        if spec.dtype.startswith("float"):
            numbers = torch.linspace(-1.0, 1.0, elements, device="cpu")
        else:
            numbers = torch.arange(elements, dtype=torch.int64, device="cpu") % (spec.vocabulary or 1)
        return cls(numbers.view(2, *spec.shape), outputs, spec.shape, classes, spec.vocabulary)

    @property
    def noun(self) -> str:
        """What the inputs are."""
        return "images" if self.inputs.dim() == 4 else "inputs"

    @property
    def wanted(self) -> str:
        """The outputs in words."""
        return f"{'logits' if len(self.outputs) == 1 else 'outputs'} {[2, *self.outputs]}"


def initialised(
    build: Callable[[], Any],
    name: str,
    shape: tuple[int, ...],
    classes: int,
    seed: int,
    ours: bool = False,
    form: Form | None = None,
) -> nn.Module:
    """The module that `build` returns, on the CPU, with keyed initialisation, and checked.

    Args:
        build: makes it, with torch's or its own initialisation.
        name: of the model, for messages.
        shape: H, W, C.
        classes: L.
        seed: of the run.
        ours: it is this package's own, of which the tests know what else is checked here.
        form: of inputs and outputs; None = images of this shape and logits of so many classes.

    Raises:
        InputError: building it fails, it is no module, it has a state besides its weights that training would change,
            it draws random numbers in evaluation or otherwise than `KeyedDraws`, has nothing to train, does not map
            inputs to outputs of this form in training and in evaluation, or these are not what the untouched module
            gives.
    """
    form = form or Form.of_images(shape, classes)
    module = built(build, name, form.inputs, seed)
    theirs = None if ours else copied(module, name)
    module, key = replace_layers(module), torch.from_numpy(keys(seed, 0, 0, 1)[0])
    _check_layers(module, name)
    _check_parameters(module, name)
    with KeyedDraws(key) as drawn:
        _check_forward(module, name, form)
    vars(module).update({DRAWS: drawn.calls > 0, ATTENDS: drawn.attends})
    if theirs is not None:
        if not training_parts(module):
            log.warning(
                "model %s comes in evaluation mode, and is trained in it: statistics and dropout stand still", name
            )
        with evaluating(training_parts(module)):
            _check_forward(module, name, form, "in evaluation ")
        with keyed_generator(None), torch.no_grad(), _described(name, "a forward pass of its untouched copy"):
            compare(module, prepared(theirs, module), name, form.inputs, key)
    return module


def prepared(theirs: nn.Module, module: nn.Module) -> nn.Module:
    """The untouched copy of a module, given contiguous images if the module needs them."""
    if any(hook is _make_contiguous for hook in module._forward_pre_hooks.values()):
        theirs.register_forward_pre_hook(_make_contiguous, prepend=True)
    return theirs


def _unfit(part: nn.Module) -> str:
    """Why weights cannot be handed in to a module of this kind; nothing for others."""
    parallel = nn.DataParallel, nn.parallel.DistributedDataParallel
    compiled = type(part).__module__.startswith("torch._dynamo") or part._compiled_call_impl is not None
    if compiled or isinstance(part, torch.jit.ScriptModule):
        return "which was compiled by torch.compile or torch.jit, and cannot be given other weights"
    return "which copies itself to other devices" if isinstance(part, parallel) else ""


def _label(path: str, part: nn.Module) -> str:
    kind = type(part).__name__
    return f"its layer {path!r} is {kind}" if path else f"it is {kind}"


def _check_layers(module: nn.Module, name: str) -> None:
    for path, layer in module.named_modules():
        if not layer.training:
            continue
        if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
            why = "its running statistics would be a state of each client, which is supported for BatchNorm alone"
            raise InputError("name", name, f"{_label(path, layer)}: {why}; {NORMS}")


def _check_parameters(module: nn.Module, name: str) -> None:
    trainable = [(path, tensor) for path, tensor in module.named_parameters() if tensor.requires_grad]
    if not trainable:
        raise InputError("name", name, "has no parameters that require a gradient, so there is nothing to train")
    state = module.state_dict(keep_vars=True)
    saved = {id(value) for value in state.values()}
    for path, tensor in trainable:
        if not tensor.is_floating_point():
            raise InputError("name", name, f"its parameter {path!r} is {tensor.dtype}, must be of a real type")
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            why = "which would be lost, because other tensors stand in its place; use a hook of its module, or a mask"
            raise InputError("name", name, f"its parameter {path!r} has a hook, {why}")
        if id(tensor) not in saved:
            raise InputError("name", name, f"its state_dict() leaves out its parameter {path!r}, or changes it")
    for path, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError("name", name, f"its state {path!r} is no tensor, so it cannot be saved with the model")


def _check_forward(module: nn.Module, name: str, form: Form, when: str = "") -> None:
    before, inputs, given = {path: tensor.clone() for path, tensor in _state(module)}, form.inputs, form.inputs.clone()
    action = f"a forward pass {when}on {form.noun} {list(inputs.shape)}"
    with keyed_generator(None), torch.no_grad(), _described(name, action):
        try:
            outputs = module(inputs)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            # Tensor.view fails on what lies channels last in memory, where flatten and reshape copy
            log.info("model %s uses Tensor.view, so every batch is copied first; flatten or reshape is faster", name)
            module.register_forward_pre_hook(_make_contiguous, prepend=True)
            outputs = module(inputs)
    _check_outputs(outputs, name, form, when)
    if not torch.equal(inputs, given):
        raise InputError("name", name, f"changes the {form.noun} that it is given; let its forward copy them first")
    for path, tensor in _state(module):
        if path not in before or not torch.equal(tensor, before[path]):
            raise InputError("name", name, _moving(module, path))


def _check_outputs(given: Any, name: str, form: Form, when: str) -> None:
    batch = f"{when}for a batch of 2 {form.noun}"
    try:
        main, *auxiliary = outputs_of(given)
    except UnreadError as error:
        raise InputError("name", name, f"gave {error} {batch}, must give {form.wanted}") from None
    if not main.is_floating_point():
        raise InputError("name", name, f"gave {main.dtype} {batch}, must give {form.wanted}")
    if main.shape != (2, *form.outputs):
        hint = "a callable with a parameter `classes` or `num_classes` is given their number"
        raise InputError("name", name, f"gave {list(main.shape)} {batch}, must give {form.wanted}; {hint}")
    for part in auxiliary:
        if part.shape != main.shape or not part.is_floating_point():
            gave = f"gave an auxiliary output {list(part.shape)} of {part.dtype} {batch}"
            raise InputError("name", name, f"{gave}, must give {form.wanted} there too")
    if auxiliary and not when:
        log.info("model %s gives %d auxiliary outputs, see task.auxiliary_weight", name, len(auxiliary))


def _state(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_buffers(), *module.named_parameters()]


def _moving(module: nn.Module, path: str) -> str:
    """What is wrong with a state that a forward pass changes."""
    owner, _, last = path.rpartition(".")
    layer = module.get_submodule(owner)
    if isinstance(layer, Keyed):
        does = "moves its running statistics by itself, past torch.nn.BatchNorm's own forward"
        cure = "call super().forward, use torch.nn's classes, or put it into evaluation mode"
        return f"{_label(owner, layer)} and {does}, so clients could not have their own; {cure}"
    why = "a forward pass in training changes it: it would be a state of each client, which is not supported"
    spectral = "parametrizations" in owner or last.endswith(("_u", "_v"))
    cure = (
        "leave spectral_norm out, or put its layer into evaluation mode" if spectral else f"for normalisation {NORMS}"
    )
    kind = "buffer" if path in dict(module.named_buffers()) else "parameter"
    return f"its {kind} {path!r} is no constant, {why}; {cure}"


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
        raise InputError("name", name, f"{action} is not reproducible: {error}; leave that out") from error
    except (Exception, SystemExit) as error:  # code that ends the process would end it without a word
        first = (str(error).strip() or "no message").splitlines()[0]
        raise InputError("name", name, f"{action} failed ({type(error).__name__}: {first})") from error
