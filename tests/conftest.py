"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.processes import Processes, clusters_apart
from tests.support.ragged import Ragged

LONGEST = (
    "gpu/test_every_part.py",
    "engine/test_ray.py",
    "tuning/test_parallel.py",
    "flower/test_deployment.py",
    "sweeps/test_sweep.py",
    "engine/test_started_engines.py",
    "reproduce/test_paper_runs.py",
    "cli/test_cli.py",
    "bench/test_bench.py",
    "engine/test_work.py",
    "reproduce/test_papers.py",
    "federated/test_client_state.py",
    "strategies/test_strategies.py",
    "runs/test_resume.py",
    "models/test_batchnorm.py",
    "models/test_models.py",
    "flower/test_app.py",
    "data/test_heterogeneity.py",
    "sweeps/test_studies.py",
)
"""Files that take longest, slow tests included, the longest first: so they are begun first, and two processes end at
about the same time.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    place = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get("/".join(item.path.parts[-2:]), len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def own_folder_of_ray() -> Iterator[None]:
    """Clusters of this process stand apart: those of tests that run at the same time neither clear nor name them."""
    with clusters_apart():
        yield


@pytest.fixture
def ragged() -> type[Ragged]:
    return Ragged


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On a busy machine two threads wait for each other longer than one works."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """What starts processes, and ends them with the test."""
    found = Processes(tmp_path)
    yield found
    found.end()
