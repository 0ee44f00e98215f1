"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.processes import Processes
from tests.support.ragged import Ragged

LONGEST = (
    "test_ray.py",
    "test_tune_ray.py",
    "test_deployment.py",
    "test_sweep.py",
    "test_started_engines.py",
    "test_paper_runs.py",
    "test_cli.py",
    "test_bench.py",
    "test_work.py",
    "test_papers.py",
    "test_client_state.py",
    "test_strategies.py",
    "test_resume.py",
    "test_batchnorm.py",
    "test_models.py",
    "test_flower_app.py",
    "test_heterogeneity.py",
    "test_study.py",
)
"""Files that take longest, slow tests included, the longest first: so they are begun first, and two processes end at
about the same time.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    place = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


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
