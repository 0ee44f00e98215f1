"""Bad input of every kind ends in one line that names what was wrong; what multiplies work is bounded or estimated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedsam import simulate
from fedsam.border import budget
from fedsam.border.budget import Need, must_be_few, must_end, must_fit, must_have_cores
from fedsam.cli.ending import described
from fedsam.errors import DivergedError, InputError, one_line
from fedsam.run import Run
from fedsam.sweeps.grid import settings
from fedsam.torture.inputs import Input, inputs, judged, survey
from fedsam.tuning.space import space_of

SAMPLE = 40  # every so many inputs are tried here; `make torture` tries all


def test_inputs_are_many_and_the_same_every_time() -> None:
    assert len(inputs()) > 1000
    assert inputs() == inputs()


def test_a_sample_of_bad_inputs_is_refused_in_one_line_each(tmp_path: Path) -> None:
    some = [each for each in inputs() if not each.apart][::SAMPLE]
    faults = {v.input.label: (v.faults, v.error[:300]) for v in survey(some, tmp_path) if v.faults}
    assert not faults


def test_what_is_accepted_or_says_something_else_is_judged_a_fault(tmp_path: Path) -> None:
    assert judged(Input(("keys",), "rounds"), tmp_path).faults[0] == "status 0, not 2"
    assert judged(Input(("run", "rounds=0"), "cohort"), tmp_path).faults == ("does not name 'cohort'",)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"client.lr": True}, "client.lr"),
        ({"rounds": True}, "rounds"),
        ({"client.name": "asam", "client.eta": False}, "client.eta"),
        ({"out": "a\0b"}, "out"),
        ({"out": "x/" + "a" * 300}, "out"),
        ({"client.lr": "\ud800"}, "client.lr"),
        ({"data.augment": "cutout", "data.cutout_after": "nothing"}, "data.cutout_after"),
        ({"data.augment": "mixup", "data.mixup_after": "nothing"}, "data.mixup_after"),
        ({"data.augment": "smoothing", "data.smoothing_after": {}}, "data.smoothing_after"),
        ({"client.name": "sam", "client.base": {}}, "client.base"),
        ({"client.name": "gsam", "client.ascent": {}}, "client.ascent"),
        ({"client.name": "gsam", "client.ascent": {"name": 3}}, "client.ascent"),
        ({"client.name": "sam", "client.base": {1: 2}}, "client.base"),
        ({"data.partition": {"name": "nothing"}}, "data.partition"),
        ({"client.schedule": 10**5000}, "client.schedule"),
        ({"model.name": "resnet20", "model.channels": 2**63 - 1}, "model.channels"),
    ],
)
def test_the_key_at_fault_is_named(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as raised:
        Run.from_keys(keys)
    assert raised.value.key == named
    assert len(str(raised.value)) < 1000


def test_numbers_of_other_types_are_still_taken() -> None:
    run = Run.from_keys({"client.lr": 1, "rounds": "3", "data.clients": np.int64(7), "server.lr": np.float64(0.5)})
    assert (run.client.base_optimizer.lr, run.rounds, run.data.clients) == (1.0, 3, 7)


def test_what_does_not_fit_is_refused_with_numbers() -> None:
    needs = [Need("a.b", 5, "the first", 2.0 * 2**30), Need("a.c", 7, "the second", 3.0 * 2**30)]
    must_fit(needs, room=5.0 * 2**30)
    with pytest.raises(InputError, match=r"^a.c = 7: the second would take 3 GiB and all of it 5 GiB, of 4 GiB"):
        must_fit(needs, room=4.0 * 2**30)


def test_what_takes_more_than_a_day_is_refused_unless_asked_for() -> None:
    must_end("surface", 100, 100**2, seconds=8.0)
    with pytest.raises(InputError, match=r"^surface = 110: 12,100 times 8 s, measured here, are 26.9 hours"):
        must_end("surface", 110, 110**2, seconds=8.0)
    must_end("surface", 110, 110**2, seconds=8.0, hours=27)
    with pytest.raises(InputError, match="10,001 runs"):
        must_be_few("seeds", 1, 10_001, "runs")


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"data.name": "synthetic", "data.samples_per_client": 10**7}, "data.samples_per_client"),
        ({"data.name": "synthetic", "data.test_samples": 10**7}, "data.test_samples"),
        ({"model.width": 10**6, "model.depth": 3}, "model.width"),
        ({"client.epochs": 10**6}, "client.epochs"),
        ({"model.width": 10**4, "geometry.every": 1, "geometry.top": 1000}, "geometry.top"),
        ({"model.width": 10**4, "rounds": 10**4, "average.name": "wima", "average.window": 1000}, "average.window"),
        ({"model.width": 10**4, "engine.name": "cohort", "engine.block": 50, "cohort": 50}, "engine.block"),
        ({"engine.threads": 1000}, "engine.threads"),
        ({"engine.device": "meta"}, "engine.device"),
        ({"engine.device": "mps"}, "engine.device"),
    ],
)
def test_a_run_that_the_machine_cannot_hold_is_refused(
    keys: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "free_memory", lambda: 64e6)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with pytest.raises(InputError) as raised:
        simulate(Run.from_keys(keys))
    assert raised.value.key == named


def test_grids_are_counted_before_they_are_made() -> None:
    many = ",".join(str(n) for n in range(1, 201))
    with pytest.raises(InputError, match="8,000,000 settings"):
        settings({"client.lr": many, "client.batch_size": many, "seed": many})
    with pytest.raises(InputError, match="at most 10,000"):
        space_of({"client.lr": "0.1..1/1000000000"})
    space = space_of({"client.lr": "0.1..1/200", "client.weight_decay": "0..1/200"})
    with pytest.raises(InputError, match="more than 10,000 points"):
        space.points()


def test_choices_that_no_trial_has_are_not_multiplied() -> None:
    many = ",".join(str(n) for n in range(1, 1001))
    foreign = dict.fromkeys(("client.rho", "client.sigma", "client.lmbda", "client.alpha", "client.k"), many)
    with pytest.raises(InputError, match=r"^client\.rho"):
        space_of({"client.lr": "0.1,0.2", **foreign})


@pytest.mark.parametrize(
    "arguments",
    [
        ("partition", "--figure", "."),
        ("report", ".", "--out", ""),
        ("report", ".", "--out", "."),
        ("report", "a" * 300),
    ],
)
def test_a_path_that_can_be_no_file_is_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert not judged(Input(arguments, arguments[-1]), tmp_path).faults


def test_processes_are_bounded_by_cores() -> None:
    must_have_cores("workers", 32, 2)
    with pytest.raises(InputError, match=r"^workers = 33: must be at most 32"):
        must_have_cores("workers", 33, 2)


def test_a_tables_heading_may_be_empty_but_no_value(tmp_path: Path) -> None:
    empty = {"a.toml": b"[data]\n[client]\nlr = true\n"}
    assert not judged(Input(("run", "a.toml"), "client.lr", empty), tmp_path).faults
    for text in (b"client.lr = {}", b"rounds = {}", b"[client.base]"):
        key = text.strip(b"[]").partition(b" ")[0].decode()
        assert not judged(Input(("run", "client.name=sam", "b.toml"), key, {"b.toml": text}), tmp_path).faults


def exits(in_channels: int, classes: int) -> nn.Module:
    sys.exit(7)


def bottomless(in_channels: int, classes: int) -> nn.Module:
    return bottomless(in_channels, classes)


class Blind(nn.Module):
    """A model that looks at no pixel."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.bias.expand(len(images), -1)


@pytest.mark.parametrize(("name", "words"), [("exits", r"SystemExit: 7"), ("bottomless", "RecursionError")])
def test_a_model_that_ends_the_process_is_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulate(Run.from_keys({"model.name": f"{__name__}:{name}"}))


def test_a_model_that_looks_at_no_pixel_can_be_attacked() -> None:
    keys = {"model.name": f"{__name__}:Blind", "attack.name": "pgd", "rounds": 1, "attack_images": 10}
    assert 0 <= simulate(Run.from_keys(keys)).summary()["robust_accuracy"] <= 1


@pytest.mark.parametrize(
    ("keys", "large"),
    [
        ({"client.name": "sam", "client.rho": 1e30}, "lower client.rho = 1e+30, or"),
        ({"server.name": "fedprox", "server.mu": 1e15}, "lower server.mu = 1e+15, or"),
        ({"client.lr": 1e20}, "lower client.lr = 1e+20 or set client.clip_norm"),
        ({"client.lr": 5, "client.momentum": 0.99, "data.noise": 0.1, "data.name": "synthetic"}, ""),
    ],
)
def test_advice_names_what_is_large(keys: dict[str, Any], large: str) -> None:
    from fedsam.federated.divergence import on_divergence

    run = Run.from_keys({"rounds": 3, "model.width": 4, **keys})
    assert on_divergence(run).startswith(large or "lower client.lr or set")
    if large:
        with pytest.raises(DivergedError, match=r"round 1: .*" + large.replace("+", r"\+")):
            simulate(run)


def test_standard_output_on_a_full_disk_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = [sys.executable, "-m", "fedsam", "--version"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output cannot be written: No space left on device")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "words", "status"),
    [
        (MemoryError(), "error: out of memory", 1),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "error: out of memory", 1),
        (RecursionError("maximum"), "error: a file or a value is nested too deeply", 1),
        (SystemExit(7), "error: code that was called ended the process itself", 1),
        (IsADirectoryError(21, "Is a directory", "x/y"), "error: cannot use x/y: Is a directory", 1),
        (KeyboardInterrupt(), "stopped", 130),
        (ZeroDivisionError("no"), "error: ZeroDivisionError: no (unexpected", 1),
    ],
)
def test_other_errors_have_words(error: BaseException, words: str, status: int) -> None:
    said, ended = described(error)
    assert said.startswith(words)
    assert ended == status


def test_messages_are_one_line_of_letters() -> None:
    assert one_line("a\n b\0\x1b[31m\ud800 é") == "a b\\x00\\x1b[31m\\ud800 é"
    assert len(one_line("x" * 10**6)) == 4000
