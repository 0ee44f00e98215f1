"""A strategy written for Flower as the server of a fedsam run, on every engine: `server.name=flwr:Krum`.

Shapes: K clients of a block, P parameters.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, cast, get_args, get_origin

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as stock
from pydantic import Field, create_model
from torch import Tensor

from fedsam.algorithm.strategy import State, Strategy
from fedsam.border.signature import must_have_values
from fedsam.config import find
from fedsam.errors import InputError, RunError
from fedsam.flower.apart import apart, kept, restore, same
from fedsam.flower.names import ARRAYS, EXAMPLES, METRICS
from fedsam.flower.records import arrays_of, theta_from
from fedsam.params import Layout
from fedsam.schedule.base import Clock

log = logging.getLogger("fedsam")

SAMPLING = ("fraction_train", "fraction_evaluate", "min_train_nodes", "min_evaluate_nodes", "min_available_nodes")
RECORDS = ("weighted_by_key", "arrayrecord_key", "configrecord_key")
TREES = (stock.FedXgbBagging, stock.FedXgbCyclic)


class Stock(Strategy):
    """What every adopted Flower strategy shares; its fields are made from the parameters of the Flower class.

    Flower's object lives for one round: it is made from the settings, given the `State`, told the weights that were
    sent as its own `start` would (`configure_train`), has the clients' replies aggregated, and what it then holds that
    a fresh one does not is the next state. So a round depends on settings and state alone. What draws from `random` or
    numpy's global generator is seeded with the number of the round, and both are as before afterwards.

    A model is one array, `theta` [P]: FedAvg, FedAvgM, FedAdam, FedYogi, FedAdagrad, FedMedian and FedTrimmedAvg work
    coordinate by coordinate, and the distances of Krum, MultiKrum and Bulyan are over all arrays together, so none of
    them depends on where a model is cut. Weights have the type of the run's parameters in every round, where Flower's
    adaptive strategies would go on in float64. Nodes are numbered from 1 in the order of the updates.
    """

    linear: ClassVar[bool] = False
    made_by: ClassVar[type[stock.Strategy]]

    def __init__(self, **values: Any) -> None:
        must_have_values(type(self), values, "Flower")
        super().__init__(**values)

    def model_post_init(self, context: object) -> None:
        """Have Flower check the settings.

        Raises:
            InputError: it refuses them or warns of them, or the strategy needs what fedsam's clients do not do.
        """
        config, few = ConfigRecord(), Layout(("theta",), ((2,),))
        with apart(0) as warned:
            try:
                flower = self.flower()
                _configure(flower, 1, arrays_of(few, torch.zeros(2)), config, clients=1)
            except Exception as error:
                raise self._refused(_one_line(error)) from None
        if asked := [repr(key) for key in config if key != "server-round"]:
            why = f"asks its clients to follow {', '.join(asked)}, which those of fedsam do not know"
            raise InputError(
                "name", self.name, f"{why}; choose what clients do by client.name, with server.name=fedavg"
            )
        if warned:
            raise self._refused(" ".join(warned))

    def _refused(self, reason: str) -> InputError:
        key = next((field for field in type(self).model_fields if re.search(rf"\b{field}\b", reason)), "")
        given = getattr(self, key) if key else self.name
        return InputError(key or "name", given, f"Flower refuses it: {reason}")

    def flower(self) -> stock.Strategy:
        """Flower's own object with these settings, fresh."""
        return type(self).made_by(**{field: getattr(self, field) for field in _own(type(self))})

    def step(
        self, theta_P: Tensor, updates: Iterable[tuple[Tensor, Tensor]], state: State, clock: Clock
    ) -> tuple[Tensor, State]:
        """A round of Flower's strategy: a reply of each client, with its whole weights and its share of the examples,
        goes through `aggregate_train`.

        Raises:
            RunError: Flower cannot aggregate these clients, or its object holds something that is no tensor or number.
        """
        number, layout = clock.round + 1, Layout(("theta",), (tuple(theta_P.shape),))
        clients = [
            (arrays_of(layout, theta_P + delta_P), float(weight))
            for delta_KP, weight_K in updates
            for delta_P, weight in zip(delta_KP, weight_K, strict=True)
        ]
        failed = f"round {number}: {self.name} could not aggregate {len(clients)} clients"
        with apart(number) as warned:
            flower, fresh = self.flower(), self.flower()
            replies = [_reply(node, arrays, weight) for node, (arrays, weight) in enumerate(clients, 1)]
            restore(flower, state)
            try:
                _configure(flower, number, arrays_of(layout, theta_P), ConfigRecord(), len(replies))
                arrays, _ = flower.aggregate_train(number, replies)
                if arrays is None:
                    raise ValueError(" ".join(warned) or "it returned no arrays")
                theta_P = theta_from(layout, arrays, theta_P)
            except Exception as error:
                raise RunError(f"{failed}: {_one_line(error)}") from error
        for line in warned:
            log.warning("round %d: %s: %s", number, self.name, line)
        return theta_P, kept(flower, fresh, self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        # Where a strategy travels to another process, its class would be looked up by its name: there is Flower's.
        return _restored, (self.name, self.keys())


def _restored(name: str, values: dict[str, Any]) -> Strategy:
    strategy: Strategy = find(Strategy, name)(**values)
    return strategy


def FromFlower(flower: stock.Strategy) -> Stock:  # noqa: N802
    """The strategy of a fresh Flower object: `FromFlower(Krum(num_malicious_nodes=1))` is `server.name=flwr:Krum
    server.num_malicious_nodes=1`. Fractions and numbers of nodes are left aside: fedsam samples and evaluates itself.

    Raises:
        InputError: it cannot be used, or its settings cannot be read back from it.
    """
    held = type(flower)
    name = _name(held)
    cls = find(Strategy, name)
    if not issubclass(cls, Stock) or cls.made_by is not held:
        raise InputError("name", name, "must be a Flower strategy whose class can be imported by this name")
    missing = [field for field in _own(cls) if not hasattr(flower, field)]
    if missing:
        raise InputError(missing[0], InputError.ABSENT, f"cannot be read back from the {held.__name__} object")
    made = cls(**{field: getattr(flower, field) for field in _own(cls)})
    with apart(0):
        fresh = vars(made.flower())
    for attribute, value in vars(flower).items():
        if attribute not in SAMPLING and not (attribute in fresh and same(value, fresh[attribute])):
            allowed = f"no key expresses it; give {held.__name__} fresh and without it, or make it a class of your own"
            raise InputError(attribute, value, allowed)
    return made


def offered(name: str) -> Any:
    """Flower's own strategy class of this name.

    Raises:
        InputError: there is none; the message lists those that can be used.
    """
    if name in stock.__all__:
        return getattr(stock, name)
    known = [f"flwr:{there}" for there in stock.__all__ if _usable(there)]
    close = get_close_matches(f"flwr:{name}", known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError("name", f"flwr:{name}", f"Flower has no such strategy; {hint}there are {', '.join(known)}")


def _usable(name: str) -> bool:
    try:
        find(Strategy, f"flwr:{name}")()
    except InputError:
        return False
    return True


def adopted(root: type[Strategy], found: Any, name: str) -> type[Stock]:
    """The strategy made of a Flower strategy's class, whose keys are the plain parameters of its `__init__`. What
    concerns sampling and evaluation is no key, and record keys and functions keep their defaults.

    Raises:
        InputError: `found` is no such class, or it needs more of its clients than weights and numbers of examples.
    """
    if not inspect.isclass(found) or not issubclass(found, stock.Strategy) or inspect.isabstract(found):
        raise InputError(
            "name", name, f"must be a subclass of {root.__module__}.{root.__name__}, or a strategy class of Flower's"
        )
    if _name(found) != name and _name(found).startswith("flwr:"):
        return cast(type[Stock], find(Strategy, _name(found)))
    if issubclass(found, TREES):
        raise InputError("name", name, "aggregates decision trees, and fedsam's models are tensors; use flwr:FedAvg")
    fields: dict[str, Any] = {}
    for parameter in _parameters(found):
        if parameter.name not in SAMPLING + RECORDS and (held := _plain(parameter, name)) is not None:
            about: dict[str, Any] = {"description": _help(found, parameter.name), "json_schema_extra": {"source": name}}
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = held, Field(default, validate_default=True, **about)
    module, _, attribute = name.partition(":")
    cls: Any = create_model(attribute, __base__=Stock, __module__=module, __doc__=inspect.getdoc(found), **fields)
    cls.made_by = found
    return cls  # type: ignore[no-any-return]


def _own(cls: type[Strategy]) -> list[str]:
    """The fields that are parameters of the Flower class."""
    return [field for field in cls.model_fields if field not in Strategy.model_fields]


def _name(cls: type) -> str:
    own = getattr(stock, cls.__name__, None) is cls
    return f"flwr:{cls.__name__}" if own else f"{cls.__module__}:{cls.__qualname__}"


def _parameters(cls: type) -> list[inspect.Parameter]:
    """The keyword parameters of a class: those of its `__init__`, and where that takes `**more`, of the next one's."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(vars(base)["__init__"], eval_str=True).parameters.values())[1:]
        variable = [p.kind for p in own if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        found = {p.name: p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)} | found
        if inspect.Parameter.VAR_KEYWORD not in variable:
            break
    return list(found.values())


def _plain(parameter: inspect.Parameter, name: str) -> Any:
    """The type of the key for a parameter; None for one that keeps its default."""
    held, required = parameter.annotation, parameter.default is parameter.empty
    if parameter.name.endswith("_key"):
        needs = f"needs a metric of its clients ({parameter}), and the server sees only their weights and examples"
        raise InputError("name", name, f"{needs}; use a strategy that needs no more, as flwr:FedAvg")
    if held is parameter.empty and not required:
        held = type(parameter.default)
    parts = get_args(held) if get_origin(held) in (Union, UnionType) else (held,)
    if not set(parts) <= {bool, int, float, str, NoneType}:
        if required:
            wraps = inspect.isclass(held) and issubclass(held, stock.Strategy)
            what = "wraps another strategy" if wraps else f"its parameter {parameter}"
            cure = "use that strategy itself" if wraps else "give it a default, or one of bool, int, float and str"
            raise InputError("name", name, f"{what}, which no key can express; {cure}")
        return None
    if hasattr(Stock, parameter.name) or parameter.name.startswith("_"):
        why = "cannot be a key of a strategy, where it means something else; rename it"
        raise InputError("name", name, f"its parameter {parameter.name!r} {why}")
    return held


def _help(cls: type, parameter: str) -> str:
    """What the class's docstring says of a parameter, up to the first full stop."""
    told = re.search(rf"^{parameter} ?:.*\n((?: {{4,}}.*\n?)+)", inspect.getdoc(cls) or "", re.MULTILINE)
    return " ".join(told[1].split()).split(". ")[0].rstrip(".") if told else f"parameter of {cls.__name__}"


class _Nodes:
    """As much of a Flower grid as `configure_train` needs."""

    def __init__(self, count: int) -> None:
        self.count = count

    def get_node_ids(self) -> list[int]:
        return list(range(1, self.count + 1))


def _configure(flower: Any, number: int, arrays: ArrayRecord, config: ConfigRecord, clients: int) -> None:
    """Tell the strategy which weights were sent, with so many nodes that it waits for none."""
    enough = max(clients, getattr(flower, "min_train_nodes", 0), getattr(flower, "min_available_nodes", 0))
    list(flower.configure_train(number, arrays, config, cast(Grid, _Nodes(enough))))


def _reply(node: int, arrays: ArrayRecord, weight: float) -> Message:
    asked = Message(RecordDict(), dst_node_id=node, message_type=MessageType.TRAIN)
    return Message(RecordDict({ARRAYS: arrays, METRICS: MetricRecord({EXAMPLES: weight})}), reply_to=asked)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if text and isinstance(error, ValueError) else f"{type(error).__name__}: {text}".rstrip(": ")
