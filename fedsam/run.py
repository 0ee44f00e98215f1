"""Run: the frozen, validated description of one simulation."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo

from fedsam.algorithm.strategy import Average, Strategy
from fedsam.attack.base import Attack
from fedsam.border.foreign import imported
from fedsam.border.requirements import check_requirements
from fedsam.config import Component, Groups, choices, find, key, names, resolve, root_of
from fedsam.data.base import Dataset
from fedsam.engine.base import Engine
from fedsam.errors import InputError, under
from fedsam.measure.base import Diagnostics, LocalProbe, Probe
from fedsam.models.base import Model
from fedsam.optim.base import ClientOptimizer
from fedsam.runs.naming import title
from fedsam.runs.trackers.base import Tracker
from fedsam.storage.paths import expanded
from fedsam.system.base import System
from fedsam.tasks.base import Task
from fedsam.tasks.own_metric import taken
from fedsam.transforms.base import Compression, Privacy
from fedsam.transforms.checks import check_bound, check_shared, check_whole

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from fedsam.tasks.metric import Metric

Named = str | Mapping[str, Any]
"""The name of a part, or its keys with `name` among them."""


def _as_text(out: Any) -> Any:
    return os.fspath(out) if isinstance(out, os.PathLike) else out


def _expanded(out: str | None) -> str | None:
    return str(expanded(out, "")) if out else out


def _with(task: Any, metrics: Sequence[str]) -> Any:
    """A task with more metrics to be recorded."""
    with under("task"):
        found: Task = resolve(Task, task)
        said = [name for name in (found.extra_metrics, *metrics) if name]
        return found.replace(extra_metrics=",".join(said))


class Run(Groups):
    """One simulation, described completely: the same description gives the same result.

    Parts are objects, or names and mappings of keys: `Run(client=ASAM(rho=0.7))` is `Run(client={"name": "asam", "rho":
    0.7})`. A model, data and a partition can also be objects of Python (`fedsam.dataset`, a torch module, a function
    that makes one), and so can `metrics`, which are recorded beside the task's own: functions of outputs and targets
    that give a number for each example.

    >>> from fedsam.optim.asam import ASAM
    >>> Run(client=ASAM(rho=0.7), rounds=10) == Run.from_keys({"client.name": "asam", "client.rho": 0.7, "rounds": 10})
    True

    Raises:
        InputError: a key that does not exist, or a value or combination that is impossible.
    """

    data: Dataset = key("digits", "data set", "embedded; needs no files")
    model: Model = key("mlp", "model", "the digits demonstration")
    task: Task = key("auto", "what is learnt; auto = what the data set is for", "convention")
    client: ClientOptimizer = key("sgd", "client optimiser", "McMahan et al. 2017")
    server: Strategy = key("fedavg", "server strategy", "McMahan et al. 2017")
    average: Average = key("none", "average over rounds, evaluated and saved but never sent", "off")
    privacy: Privacy = key("none", "differential privacy of clients", "off")
    compress: Compression = key("none", "compression of clients' updates", "off")
    attack: Attack = key("none", "attack on the test images by which robust accuracy is measured", "off")
    geometry: Probe = key("hessian", "measurement of flatness in the course of the run", "Caldarola et al. 2022")
    diagnostics: Diagnostics = key("updates", "measurement of the clients' updates in the course of the run", "off")
    system: System = key("none", "system heterogeneity: which clients deliver, how much and when", "off")
    local: LocalProbe = key("accuracy", "evaluation of clients in the course of the run", "off")
    track: Tracker = key("none", "trackers that are told of the run: one, or several with commas between them", "off")
    engine: Engine = key("auto", "how clients are trained", "fedsam bench engines")
    rounds: int = key(
        150,
        "federated rounds, T",
        "the digits demonstration; 10,000 for CIFAR-10 in Caldarola et al. 2022",
        ge=1,
        le=10**9,
    )
    cohort: int = key(
        5, "clients sampled in each round, on average; see system.sampling", "Caldarola et al. 2022", ge=1
    )
    seed: int = key(0, "every random number of the run is keyed by it", "convention", ge=0, lt=2**63)
    evaluate_every: int = key(10, "rounds between evaluations; the last round is always evaluated", "convention", ge=1)
    attack_images: int | None = key(
        None, "test images that are attacked, from the first on; none = all", "convention", ge=1
    )
    evaluate_last: int = key(
        1,
        "every one of this many last rounds is evaluated; the papers report means of the last 100",
        "convention",
        ge=1,
    )
    checkpoint_every: int = key(
        50, "rounds between checkpoints; 0 = only at the end or when stopped", "convention", ge=0
    )
    callbacks: str = key(
        "", "listeners of your own that are told of the run: package.module:Class, with commas between several", "off"
    )
    save: Literal["whole", "trained"] = key(
        "whole",
        "what model.safetensors holds: whole = the model; trained = what was trained alone, such as an adapter",
        "convention",
    )
    out: Annotated[str | None, BeforeValidator(_as_text), AfterValidator(_expanded)] = key(
        None, "run directory; none = runs/ and a name made from the settings", "convention", path=True
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            data: Dataset | Named | object = ...,
            model: Model | Named | nn.Module | Callable[..., nn.Module] = ...,
            task: Task | Named = ...,
            client: ClientOptimizer | Named = ...,
            server: Strategy | Named = ...,
            average: Average | Named = ...,
            privacy: Privacy | Named = ...,
            compress: Compression | Named = ...,
            attack: Attack | Named = ...,
            geometry: Probe | Named = ...,
            diagnostics: Diagnostics | Named = ...,
            system: System | Named = ...,
            local: LocalProbe | Named = ...,
            track: Tracker | Named = ...,
            engine: Engine | Named = ...,
            rounds: int = ...,
            cohort: int = ...,
            seed: int = ...,
            evaluate_every: int = ...,
            attack_images: int | None = ...,
            evaluate_last: int = ...,
            checkpoint_every: int = ...,
            callbacks: str = ...,
            save: Literal["whole", "trained"] = ...,
            out: str | Path | None = ...,
            metrics: str | Sequence[str | Metric | Callable[[Tensor, Tensor], Tensor]] = (),
        ) -> None: ...

    if not TYPE_CHECKING:

        def __init__(self, metrics: str | Sequence[Any] = (), **values: Any) -> None:
            metrics = [name.strip() for name in metrics.split(",")] if isinstance(metrics, str) else metrics
            holders = [taken(metric) for metric in metrics if not isinstance(metric, str)]
            if metrics:
                names = [metric if isinstance(metric, str) else taken(metric).name for metric in metrics]
                values["task"] = _with(values.get("task", "auto"), names)
            super().__init__(**values)
            del holders  # until the task holds them

    def model_post_init(self, context: object) -> None:
        """Refuse combinations that cannot run."""
        if (clients := self.data.fixed_clients) is not None and self.cohort > clients:
            raise InputError("cohort", self.cohort, f"must be at most data.clients = {clients}")
        if self.local.every and not self.data.local_test:
            raise InputError("local.every", self.local.every, "needs data.local_test above 0, a share to be tested on")
        with under("task"):
            learnt = self.learnt
        with under("local"):
            self.local.check(learnt.score)
        by = f"data.name={self.data.name} with task.name={learnt.name}"
        check_requirements(self, self.data.offers | learnt.offers, by)
        try:
            self.server.check(self.client)
        except InputError as error:
            raise error.under("client") from None
        for name in filter(None, map(str.strip, self.callbacks.split(","))):
            try:
                imported(name)
            except InputError as error:
                raise InputError("callbacks", name, error.allowed) from None
        check_bound(self.privacy, self.compress, self.server, self.system)
        check_whole(self.compress, self.server)
        check_shared(self.server, self.system, self.data.validation)
        try:
            self.average.check(self.rounds)
        except InputError as error:
            raise error.under("average") from None

    @property
    def learnt(self) -> Task:
        """The task in force."""
        return self.task.of(self.data.task)

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> Run:
        """A run from dotted keys: `{"client.name": "asam", "client.rho": 0.7, "rounds": 10}`."""
        values: dict[str, Any] = {}
        for dotted, value in keys.items():
            group, dot, rest = dotted.partition(".")
            if not dot:
                if (
                    group in cls.model_fields
                    and root_of(cls.model_fields[group])
                    and isinstance(value, str | int | float)
                ):
                    raise InputError(dotted, value, f"is a group of keys; did you mean {dotted}.name={value}?")
                values[group] = value
            elif group not in cls.model_fields or not root_of(cls.model_fields[group]):
                groups = [f"{name}." for name, field in cls.model_fields.items() if root_of(field)]
                raise InputError(dotted, value, f"no such group of keys; there are {', '.join(groups)}")
            else:
                values.setdefault(group, {})[rest] = value
        return cls(**values)

    def keys(self) -> dict[str, Any]:
        """Every key, dotted, with its value as a plain JSON type; `Run.from_keys` of it is this run."""
        found: dict[str, Any] = {}
        for field in type(self).model_fields:
            value = getattr(self, field)
            if isinstance(value, Component):
                found[f"{field}.name"] = value.name
                found |= {f"{field}.{k}": v for k, v in value.keys().items()}
            else:
                found[field] = value
        return found

    def digest(self) -> str:
        """That of its keys."""
        return digest_of(self.keys())

    def title(self) -> str:
        """A short name made from the settings, fit for a directory: what differs from the defaults is in it."""
        return title(self, ("data", "client", "server", "average"), self.seed)


MEANS = ("memory", "disk", "disk_folder", "decoders")
"""Keys of data sets that decide where images are kept, and nothing of the result."""


def digest_of(keys: Mapping[str, Any]) -> str:
    """sha256 of every key that decides the result: all but where it is written and how often it is saved."""
    aside = {"out", "callbacks", "checkpoint_every", "server.state_memory", *(f"data.{key}" for key in MEANS)}
    unsaid = {  # as before there were these keys
        "task.name": "auto",
        "task.extra_metrics": "",
        "task.auxiliary_weight": 0.4,
        "data.unseen": "",
        "system.sampling": "uniform",
        "privacy.name": "none",
        "compress.name": "none",
    }
    keys = {k: v for k, v in keys.items() if not k.startswith("track.")}
    kept = {k: v for k, v in keys.items() if k not in aside and not (k in unsaid and v == unsaid[k])}
    text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class KeyRow:
    """One key: its name, the components that have it (none = every run has it), default, what is allowed, ..."""

    key: str
    of: list[str]
    default: Any
    allowed: str
    help: str
    source: str


def describe_keys() -> list[KeyRow]:
    """Every key of every component; one that several have in the same form is there once."""
    rows: dict[tuple[object, ...], KeyRow] = {}

    def add(key: str, info: FieldInfo, of: str | None) -> None:
        allowed = " ".join(choices(info)) if root_of(info) else _allowed(info)
        source = str((info.json_schema_extra or {}).get("source", ""))  # type: ignore[union-attr]
        row = KeyRow(key, [], info.default, allowed, str(info.description), source)
        known = rows.setdefault((key, repr(row.default), row.allowed, row.help, row.source), row)
        if of and of not in known.of:
            known.of.append(of)

    def add_components(group: str, root: type[Component]) -> None:
        for name in names(root):
            for field, info in find(root, name).model_fields.items():
                common = field in root.model_fields and info.default == root.model_fields[field].default
                add(f"{group}.{field}", info, None if common else name)
                inner = root_of(info)
                if inner and inner is not root:
                    add_components(group, inner)

    for field, info in Run.model_fields.items():
        root = root_of(info)
        add(f"{field}.name" if root else field, info, None)
        if root:
            add_components(field, root)
    return list(rows.values())


def _kind(held: Any) -> str:
    if get_origin(held) is Literal:
        return " ".join(map(str, get_args(held)))
    return "none" if held is NoneType else held.__name__ if isinstance(held, type) else str(held)


def _allowed(info: FieldInfo) -> str:
    held = info.annotation
    parts = get_args(held) if get_origin(held) in (Union, UnionType) else (held,)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(m, name)}" for m in info.metadata for name, sign in signs.items() if hasattr(m, name)]
    return " or ".join([" ".join([_kind(parts[0]), *limits]), *map(_kind, parts[1:])])
