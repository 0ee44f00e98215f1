"""What several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

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
