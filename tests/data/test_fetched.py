"""Images that memory does not hold: the same runs, to the bit, whatever is kept where."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import fedsam
from fedsam import InputError, Run
from fedsam.data.image_table import ImageTable
from fedsam.data.images.fetched import Fetched
from fedsam.data.images.kept import Kept
from fedsam.data.stored import StoredFederation
from fedsam.data.validation import federation_of
from fedsam.errors import RunError
from tests.support.discovered import ENGINES
from tests.support.image_files import write_image, write_mask

CLIENTS = ("ann", "bob", "cy", "dee", "eve")
SIZES = (70, 3, 9, 1, 6)  # the first are of several threads


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of five clients in mixed order, and test images of each, with masks."""
    folder = tmp_path_factory.mktemp("images")
    owners = np.random.default_rng(0).permutation(np.repeat(np.arange(5), SIZES)).tolist()
    lines = ["file,label,mask,client,split"]
    for n, owner in enumerate([*owners, 0, 1, 2, 3, 4, 0]):
        write_image(folder / f"{n}.png", n)
        write_mask(folder / f"mask{n}.png", n)
        split = "train" if n < len(owners) else "test"
        lines.append(f"{n}.png,{n % 3},mask{n}.png,{CLIENTS[owner]},{split}")
    (folder / "examples.csv").write_text("\n".join(lines))
    return folder


def data(root: Path, disk_folder: Path, memory: float = 0.0, **keys: Any) -> ImageTable:
    given = {"partition": "natural", "disk_folder": str(disk_folder), "memory": memory}
    return ImageTable(root=str(root), **{**given, **keys})


def fetched(root: Path, disk_folder: Path, **keys: Any) -> Fetched:
    found = data(root, disk_folder, **keys).load(0)
    assert isinstance(found, Fetched)
    return found


def pixelwise() -> nn.Module:
    return nn.Conv2d(3, 3, 1)


RUN: dict[str, Any] = {"cohort": 2, "rounds": 4, "evaluate_every": 1, "client": {"name": "sgd", "batch_size": 8}}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"unseen": "cy"},
    "noise": {"label_noise": 0.3, "local_test": 0.3, "unseen": "cy"},
    "skew": {"skew": "feature", "local_test": 0.2},
    "validation": {"validation": 0.25, "skew": "feature"},
    "iid": {"partition": "iid", "clients": 4},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_the_same_to_the_bit_wherever_images_are(root: Path, tmp_path: Path, way: str) -> None:
    keys = WAYS[way]
    eager = Run(data=data(root, tmp_path, memory=1.0, **keys), **RUN)
    assert isinstance(eager.data.load(0), StoredFederation)
    expected = fedsam.simulate(eager)
    for place in (
        {"disk": 1.0},
        {"disk": 1.0},  # from disk, as the first has left it
        {"disk": 0.0, "decoders": 1},
        {"disk": 4e-6},  # 4 kB
        {"memory": 2e-6},  # some rounds in memory, others in files
    ):
        run = Run(data=data(root, tmp_path, **{**keys, **place}), **RUN)
        assert isinstance(run.data.load(0), Fetched)
        assert run.digest() == eager.digest()
        found = fedsam.simulate(run)
        assert found.digest == expected.digest
        for one, other in zip(found.metrics, expected.metrics, strict=True):
            timed = {"seconds", "eval_seconds"}
            assert {k: v for k, v in one.items() if k not in timed} == {
                k: v for k, v in other.items() if k not in timed
            }


@pytest.mark.parametrize("engine", ENGINES)
def test_masks_are_fetched_too(root: Path, tmp_path: Path, engine: str) -> None:
    keys = {"mask_column": "mask", "classes": 3, "unseen": "bob"}
    model = "tests.data.test_fetched:pixelwise"
    runs = [
        Run(data=data(root, tmp_path, memory, **keys), model=model, engine=engine, **RUN) for memory in (1.0, 0.0, 0.0)
    ]
    expected, *others = map(fedsam.simulate, runs)
    for found in others:
        assert found.digest == expected.digest
        assert [m["unseen_miou"] for m in found.metrics] == [m["unseen_miou"] for m in expected.metrics]
    with pytest.raises(InputError, match="goes by the classes in all masks"):
        data(root, tmp_path, partition="dirichlet", clients=2, **keys).learning(runs[0].learnt).load(0)


def test_a_client_has_its_own_images_and_what_is_expected_is_decoded_once(root: Path, tmp_path: Path) -> None:
    federation, whole = fetched(root, tmp_path, disk=0.0), data(root, tmp_path, memory=1.0).load(0)
    begun = federation.images
    federation.expect([0, 2])
    federation.expect([1, 3])
    assert federation.images - begun == sum(SIZES[:4])
    for ids in ([0, 2], [2], [1, 3], [3, 1]):
        store, index = federation.examples(ids)
        expected, positions = whole.examples(ids)
        for one, other in zip(index, positions, strict=True):
            assert np.array_equal(store.inputs[one], expected.inputs[other])
            assert np.array_equal(store.targets[one], expected.targets[other])
    assert federation.images - begun == sum(SIZES[:4])  # nothing twice
    assert federation.examples([1, 3])[0] is federation.examples([3])[0]
    federation.examples([4])
    assert federation.images - begun == sum(SIZES)
    federation.close()


def test_the_clients_of_a_round_are_decoded_ahead_of_it(root: Path, tmp_path: Path) -> None:
    from fedsam.engine.context import numerics
    from fedsam.federated.round_loop import Simulation

    with numerics("fp32"):
        simulation = Simulation(Run(data=data(root, tmp_path, disk=0.0), **RUN))
        federation = simulation.federation
        assert isinstance(federation, Fetched)
        for done in range(3):
            simulation.advance()
            following = simulation.run.system.sample(0, done + 1, federation.clients, 2)
            before = federation.images
            federation.examples(following)
            assert federation.images == before
        simulation.close()


def test_a_run_for_tuning_reads_no_test_image(root: Path, tmp_path: Path) -> None:
    text = (root / "examples.csv").read_text()
    (tmp_path / "examples.csv").write_text(text.replace(f"{sum(SIZES)}.png,", "none.png,"))
    for n in range(sum(SIZES)):
        os.link(root / f"{n}.png", tmp_path / f"{n}.png")
    federation = federation_of(data(tmp_path, tmp_path / "kept", validation=0.2), 0)
    assert len(federation.test) == 14 + 1 + 2 + 0 + 1
    with pytest.raises(InputError, match=r"none.png \(row 91 of examples.csv\) is not there"):
        fetched(tmp_path, tmp_path / "kept")


def test_a_bad_image_is_the_affair_of_its_round(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsam.data.images.listing.LOOKED_AT", 2)  # at the beginning, of many
    (tmp_path / "examples.csv").write_text((root / "examples.csv").read_text())
    for path in root.glob("*.png"):
        os.link(path, tmp_path / path.name)
    rows = (root / "examples.csv").read_text().splitlines()
    row = next(at for at, line in enumerate(rows) if ",dee," in line)
    name = rows[row].partition(",")[0]
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"no image")
    keys = {**RUN, "rounds": 6, "cohort": 4}
    with pytest.raises(RunError, match=rf"client 3: .*{name} \(row {row + 1} of examples.csv\) is no image"):
        fedsam.simulate(Run(data=data(tmp_path, tmp_path / "kept"), **keys))
    engine = {"name": "loop", "on_client_error": "skip"}
    result = fedsam.simulate(Run(data=data(tmp_path, tmp_path / "kept"), engine=engine, **keys))
    failed = [failure["client"] for record in result.metrics for failure in record.get("failures", [])]
    assert set(failed) == {3}


def test_it_goes_to_another_process(root: Path, tmp_path: Path) -> None:
    federation = fetched(root, tmp_path)
    federation.expect([0])
    other = pickle.loads(pickle.dumps(federation))
    store, (index,) = federation.examples([2])
    copied, (positions,) = other.examples([2])
    assert np.array_equal(store.inputs[index], copied.inputs[positions])


# what is kept on disk


def arrays(number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(number)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((5, 4, 3), (5, 4))]


def read(kept: Kept, number: int) -> list[np.ndarray] | None:
    found = [np.zeros_like(array) for array in arrays(number)]
    return found if kept.read(f"{number:04}", found) else None


def same(one: list[np.ndarray] | None, number: int) -> bool:
    return one is not None and all(map(np.array_equal, one, arrays(number)))


def test_what_is_kept_is_found_and_damage_is_noticed(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1e6)
    kept.write("0007", arrays(7))
    assert same(read(kept, 7), 7)
    assert same(read(Kept(tmp_path, 1e6), 7), 7)
    assert read(kept, 8) is None
    (path,) = tmp_path.glob("*/*")
    content = path.read_bytes()
    for changed in (content[:-1], content + b"x", content[:9] + bytes([content[9] ^ 1]) + content[10:], b""):
        path.write_bytes(changed)
        assert read(kept, 7) is None


def test_the_limit_is_kept_and_what_was_used_last_stays(tmp_path: Path) -> None:
    size = sum(array.nbytes for array in arrays(0)) + 4
    kept = Kept(tmp_path, 10 * size)
    for number in range(30):
        kept.write(f"{number:04}", arrays(number))
        os.utime(kept.folder / f"{number:04}"[:2] / f"{number:04}", (number, number))
        assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 10 * size
    assert same(read(kept, 29), 29)
    assert read(kept, 0) is None
    other = Kept(tmp_path, 3 * size)  # a smaller one, in a folder that holds more
    other.write("0099", arrays(99))
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 3 * size
    assert same(read(other, 29), 29)  # was used last


def test_a_folder_that_cannot_be_written_to_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Kept(tmp_path / "file", 1e6)
    kept.write("0007", arrays(7))
    assert read(kept, 7) is None
    assert not kept.limit
