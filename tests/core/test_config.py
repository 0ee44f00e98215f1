"""Keys: one set everywhere, and one clear line for whatever is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from fedsam import InputError, Run
from fedsam.config import Component, find, names, root_of
from fedsam.optim.adamw import AdamW
from fedsam.optim.asam import ASAM
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.run import describe_keys
from strategies.averages.swa import SWA

ROOTS = [root for field in Run.model_fields.values() if (root := root_of(field))]


class Mine(SGD):
    """A user's own optimiser."""

    twist: float = 1.0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"client.nme": 1}, "client.nme = 1: no such key here; there are "),
        ({"client.rhoo": 1, "client.name": "sam"}, "client.rhoo = 1: no such key here; did you mean 'rho'? there are "),
        ({"average.name": "SWA"}, "average.name = SWA: no such average; did you mean 'swa'? there are "),
        ({"client.name": "mine.Own"}, "client.name = mine.Own: no such client optimiser; did you mean 'mine:Own'? "),
        ({"client": "sam"}, "client = sam: is a group of keys; did you mean client.name=sam?"),
        (
            {"clint.name": "sam"},
            "clint.name = sam: no such group of keys; there are data., model., task., client., server., ",
        ),
        (
            {"client.name": "samm"},
            "client.name = samm: no such client optimiser; did you mean 'sam'? there are adamw, adversarial, asam, ",
        ),
        ({"client.name": "sam", "client.rho": -1}, "client.rho = -1: must be at least 0.0"),
        ({"client.name": "sam", "client.rho": "nan"}, "client.rho = nan: must be a finite number"),
        ({"client.lr": "fast"}, "client.lr = fast: must be a number"),
        ({"client.lr": 0}, "client.lr = 0: must be greater than 0.0"),
        ({"client.epochs": "1.5"}, "client.epochs = 1.5: must be a whole number"),
        ({"client.nesterov": True}, "client.nesterov = True: needs momentum > 0"),
        ({"client.name": "asam", "client.scaling": "some"}, "client.scaling = some: must be one of 'weights' or 'all'"),
        (
            {"client.name": "asam", "client.scaling": "all", "client.eta": 0.1},
            "client.eta = 0.1: scaling=all has no eta; ",
        ),
        (
            {"client.name": "sam", "client.base": "adam"},
            "client.base = adam: no such client optimiser; did you mean 'adamw'? ",
        ),
        ({"client.name": "sam", "client.base": "asam"}, "client.base = asam: must be one of adamw, lion, muon, sgd"),
        ({"data.augment": "cutout", "data.cutout_after": "cutout"}, "data."),
        ({"data.alpha": -1}, "data.alpha = -1: must be at least 0.0"),
        (
            {"data.partition": "shards", "data.alpha": 1},
            "data.alpha = 1: no such key here (it is partition=dirichlet or partition=dirichlet_class",
        ),
        ({"rounds": 0}, "rounds = 0: must be at least 1"),
        ({"rounds": "many"}, "rounds = many: must be a whole number"),
        ({"round": 3}, "round = 3: no such key here; did you mean 'rounds'? there are "),
        ({"cohort": 51}, "cohort = 51: must be at most data.clients = 50"),
        (
            {"average.name": "swa", "average.cycle": 500},
            "average.cycle = 500: no model would be captured in rounds 113 to 150; ",
        ),
        ({"model.name": "nowhere:net"}, "model.name = nowhere:net: cannot import 'nowhere' "),
        (
            {"client.name": f"{__name__}:Nothing"},
            "client.name = tests.core.test_config:Nothing: module 'tests.core.test_config' has no 'Nothing'",
        ),
        (
            {"client.name": "fedsam.run:Run"},
            "client.name = fedsam.run:Run: must be a subclass of fedsam.optim.base.ClientOptimizer",
        ),
        ({"client.name": 3}, "client.name = 3: must name one of: adamw, adversarial, asam, "),
    ],
)
def test_what_is_wrong_gets_one_line(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Run.from_keys(keys)
    assert str(caught.value).startswith(message), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "run",
    [
        Run(),
        Run(client=ASAM(rho=0.5, scaling="all", lr=0.3), average=SWA(cycle=3), rounds=20, seed=5),
        Run(client=SAM(base=AdamW(lr=0.01)), server={"name": "fedavg", "lr": 0.5}, out="somewhere"),
        Run(client=Mine(twist=2.0), data={"name": "digits", "partition": "shards", "shards_per_client": 3}),
        Run(client={"name": "sgd", "schedule": "exponential", "decay": 0.9, "clip_norm": 3.0}),
    ],
)
def test_keys_describe_a_run_completely(run: Run) -> None:
    again = Run.from_keys(run.keys())
    assert again == run
    assert again.digest() == run.digest()
    assert (
        Run.from_keys(
            {k: str(v).lower() if v is None or isinstance(v, bool) else str(v) for k, v in run.keys().items()}
        )
        == run
    )


def test_a_component_within_shares_the_keys_of_its_group() -> None:
    flat = ASAM(rho=0.7, lr=0.3, momentum=0.9)
    assert flat == ASAM(rho=0.7, base=SGD(lr=0.3, momentum=0.9))
    assert flat.base_optimizer.lr == 0.3
    assert SAM(base="adamw", beta1=0.5).base == AdamW(beta1=0.5)
    with pytest.raises(InputError, match=r"momentum = 0\.9: no such key here"):
        SAM(base="adamw", momentum=0.9)


def test_a_class_of_the_users_own_is_a_name() -> None:
    run = Run.from_keys({"client.name": f"{__name__}:Mine", "client.twist": "2", "client.lr": 0.5})
    assert run.client == Mine(twist=2.0, lr=0.5)
    assert run.keys()["client.name"] == f"{__name__}:Mine"


def test_the_digest_ignores_where_and_how_often_a_run_is_saved_and_nothing_else() -> None:
    base = Run()
    for field, value in {"out": "x", "checkpoint_every": 1}.items():
        assert base.replace(**{field: value}).digest() == base.digest()
    for field, value in {"rounds": 3, "seed": 1, "cohort": 2, "client": SGD(lr=0.2), "evaluate_every": 1}.items():
        assert base.replace(**{field: value}).digest() != base.digest()


def test_records_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Run().rounds = 3  # type: ignore[misc]


def _all_components() -> list[type[Component]]:
    found = {find(root, name) for root in ROOTS for name in names(root)}
    for cls in list(found):
        inner = [r for f in cls.model_fields.values() if (r := root_of(f))]
        found |= {find(root, name) for root in inner for name in names(root)}
    return sorted(found, key=lambda cls: cls.__module__)


@pytest.mark.parametrize("component", _all_components(), ids=lambda cls: cls.__module__)
def test_every_key_has_help_and_a_source_for_its_default(component: type[Component]) -> None:
    for name, field in component.model_fields.items():
        assert field.description, name
        assert (field.json_schema_extra or {}).get("source"), f"{name} has no source"  # type: ignore[union-attr]
        assert component.__doc__


@pytest.mark.parametrize("component", _all_components(), ids=lambda cls: cls.__module__)
def test_no_component_within_hides_a_key(component: type[Component]) -> None:
    """Keys of a group are unique: a component's fields differ from those of every component it can hold."""
    for field in component.model_fields.values():
        root = root_of(field)
        for name in names(root) if root else []:
            inner = find(root, name)  # type: ignore[arg-type]
            if inner is not component:
                assert not set(inner.model_fields) & (set(component.model_fields) - {"base"}) or not issubclass(
                    component, inner
                )


def test_keys_are_listed_with_the_components_that_have_them() -> None:
    rows = describe_keys()
    listed = [(row.key, name) for row in rows for name in row.of or [""]]
    assert len(listed) == len(set(listed))
    keys = {row.key for row in rows}
    assert set(Run().keys()) <= keys
    assert {"client.rho", "client.eta", "average.lr_end", "data.split_file", "engine.precision"} <= keys
    of = {row.key: row.of for row in rows}
    assert of["client.eta"] == ["asam"]
    assert set(of["client.base"]) >= {"sam", "asam"}
    assert of["data.shards_per_client"] == ["shards"]
    assert of["rounds"] == of["data.augment"] == []


def test_discovery_needs_no_list() -> None:
    assert {"sgd", "sam", "asam"} <= set(names(ClientOptimizer))
    assert "base" not in names(ClientOptimizer)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"system.dropout": 0.2},
            r"system\.dropout = 0\.2: no such key here \(it is simulated that has it\); there are sampling",
        ),
        (
            {"average.window": 2},
            r"average\.window = 2: no such key here \(it is wima that has it\); there are none",
        ),
        ({"client.rho": 0.1}, r"no such key here \(it is .*sam.* that has it\); there are batch_size, "),
        ({"client.momentun": 0.1}, r"no such key here; did you mean 'momentum'\? there are batch_size, "),
    ],
)
def test_a_key_of_another_part_says_whose_it_is(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Run.from_keys(keys)
