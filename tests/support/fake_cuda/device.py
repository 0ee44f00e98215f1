"""Torch with the fake device: what is on the host is computed, what is on the device is not.

A tensor that comes back from the device holds ones.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from tests.support.fake_cuda import guard
from tests.support.fake_cuda.notes import Notes, leaves, number_of

COPIES = frozenset({"_to_copy", "copy_", "copy"})
WAITING = frozenset({"nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero", "bincount"})
"""Operations whose result has a size, or is a number, that only the device knows."""
MEMORY = 139 * 2**30


class Mixed(RuntimeError):
    """An operation on tensors of the host and of the device."""


class FakeDevice(TorchDispatchMode):
    """Sends what concerns the device to torch's fake tensors, and takes notes."""

    def __init__(self) -> None:
        super().__init__()
        self.notes = Notes()
        self.fake = FakeTensorMode()
        self._pinned: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        tensors = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_device = [one for one in tensors if one.device.type == "cuda"]
        if not on_device and not _cuda(kwargs.get("device")):
            return self._on_host(func, name, args, kwargs)
        if name == "_local_scalar_dense":
            self.notes.wait("item")
            return number_of(tensors[0])
        if name in COPIES and (found := self._between(func, name, args, kwargs, tensors)) is not None:
            return found[0]
        if on_device and len(on_device) < len(tensors):
            if shapes := [tuple(one.shape) for one in tensors if one.device.type != "cuda" and one.dim()]:
                raise Mixed(f"{name} takes tensors of the device and of the host {shapes}")
            # a number of the host is handed over with the kernel
            args, kwargs = tree_map(lambda leaf: leaf.item() if _on_host(leaf) else leaf, (args, kwargs))
        self._waits(name, args, kwargs)
        with self.fake:
            if name == "bincount":  # which is of unknown length to the host
                out = args[0].new_empty(args[2] if len(args) > 2 else kwargs["minlength"])
            else:
                out = func(*args, **kwargs)
        self.notes.holds(out)
        if not (name == "_to_copy" and out is tensors[0]):
            self.notes.launched(func, name, args, kwargs, out)
        return out

    def _on_host(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        if name == "is_pinned":
            return args[0].untyped_storage().data_ptr() in self._pinned
        if name == "_pin_memory":
            return self._pin(args[0].clone())
        pin = kwargs.pop("pin_memory", None)
        out = func(*args, **kwargs)
        return self._pin(out) if pin else out

    def _pin(self, one: Tensor) -> Tensor:
        storage = one.untyped_storage()
        at = storage.data_ptr()
        self._pinned.add(at)
        weakref.finalize(storage, self._pinned.discard, at)
        return one

    def _between(self, func: Any, name: str, args: Any, kwargs: Any, tensors: list[Tensor]) -> tuple[Tensor] | None:
        """A copy between host and device; None if it is one on the device."""
        source = tensors[0] if name == "_to_copy" else tensors[1]
        down = source.device.type == "cuda"
        if name == "_to_copy":
            other = kwargs.get("device")
            if other is None or down == _cuda(other):
                return None
            kind = kwargs.get("dtype") or source.dtype
        else:
            if len({one.device.type for one in tensors[:2]}) == 1:
                return None
            kind = tensors[0].dtype
        non_blocking = bool(kwargs.get("non_blocking") or args[2:])
        if down:
            self.notes.copy("to host", source, waits=True)
            held = torch.ones(source.shape, dtype=kind)
            return (held if name == "_to_copy" else tensors[0].copy_(held),)
        pinned = source.untyped_storage().data_ptr() in self._pinned
        self.notes.copy("to device", source, waits=not (pinned and non_blocking))
        if name == "copy_":
            return (tensors[0],)
        with self.fake:
            made = torch.empty_strided(source.shape, _dense(source), dtype=kind, device="cuda")
        self.notes.holds(made)
        return (made,)

    def _waits(self, name: str, args: Any, kwargs: Any) -> None:
        if name in WAITING:
            self.notes.wait(name)
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            self.notes.wait("repeat_interleave of unknown size")
        masks = (torch.bool, torch.uint8)
        if name in ("index", "index_put", "index_put_") and any(
            isinstance(at, Tensor) and at.dtype in masks for at in leaves(args[1])
        ):
            self.notes.wait("index by a mask")

    def moved(self, module: nn.Module, device: torch.device, dtype: torch.dtype | None) -> nn.Module:
        """As `nn.Module.to`, which would write fake numbers into real parameters."""
        made: dict[int, Any] = {}

        def to(one: Tensor) -> Tensor:
            if id(one) not in made:
                new = one.detach().to(device, dtype if dtype is not None and one.is_floating_point() else one.dtype)
                made[id(one)] = nn.Parameter(new, one.requires_grad) if isinstance(one, nn.Parameter) else new
            found: Tensor = made[id(one)]
            return found

        for part in module.modules():
            for held in (part._parameters, part._buffers):
                for name, one in held.items():
                    held[name] = None if one is None else to(one)  # type: ignore[assignment]
        return module


def _on_host(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type == "cpu"


def _cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _dense(one: Tensor) -> tuple[int, ...]:
    return one.stride() if one.is_contiguous(memory_format=torch.channels_last) else one.contiguous().stride()


class _Nothing:
    """A device, a stream or an event to enter."""

    def __init__(self, *given: Any, **more: Any) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *given: Any) -> None: ...


@contextmanager
def fake_device() -> Iterator[FakeDevice]:
    """Inside, torch has a GPU."""
    device, real_to = FakeDevice(), nn.Module.to

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        where, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
        return device.moved(module, where, dtype) if _cuda(where) else real_to(module, *args, **kwargs)

    def tolist(one: Tensor) -> Any:
        device.notes.wait("tolist")
        return torch.full(one.shape, number_of(one), dtype=one.dtype).tolist()

    real_lstm = torch.nn.modules.rnn._VF.lstm

    def lstm(*given: Any) -> Any:
        before = torch._C._get_cudnn_enabled()
        torch._C._set_cudnn_enabled(before and not isinstance(given[0], FakeTensor))  # cuDNN knows none
        try:
            return real_lstm(*given)
        finally:
            torch._C._set_cudnn_enabled(before)

    guard.put()
    replaced = [
        (torch._C, "_ensureCUDADeviceGuardSet", lambda: None),  # it would put back one that asks the driver
        (torch.accelerator, "current_accelerator", lambda *a, **k: torch.device("cuda")),
        (FakeTensorMode, "avoid_device_init", True),
        (FakeTensor, "tolist", tolist),
        (nn.Module, "to", to),
        (torch.nn.modules.rnn._VF, "lstm", lstm),
        (nn.RNNBase, "flatten_parameters", lambda layer: None),  # it looks at where weights lie
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "device_count", lambda: 1),
        (torch.cuda, "current_device", lambda: 0),
        (torch.cuda, "get_device_name", lambda index=0: "a fake GPU"),
        (torch.cuda, "get_device_capability", lambda index=0: (9, 0)),
        (torch.cuda, "is_bf16_supported", lambda *a, **k: True),
        (torch.cuda, "mem_get_info", lambda *a: (MEMORY - device.notes.live, MEMORY)),
        (torch.cuda, "synchronize", lambda *a: device.notes.wait("synchronize")),
        (torch.cuda, "empty_cache", lambda: None),
        (torch.cuda, "device", _Nothing),
    ]
    with ExitStack() as stack:
        for owner, name, value in replaced:
            stack.enter_context(mock.patch.object(owner, name, value))
        # the engine of autograd has no thread for a device that is not there
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # literals are made on the host and copied, as on a real device
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        stack.enter_context(device)
        yield device
