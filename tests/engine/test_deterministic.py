"""What is set where bits are promised, and put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fedsam.engine.context import numerics


def state() -> tuple[bool, bool, bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


@pytest.fixture
def as_before() -> Iterator[None]:
    before = state()
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(
    ("users", "inside"),
    [((False, False), (True, True, False, True, False)), ((True, False), (True, False, True, True, False))],
)
def test_kernels_of_a_gpu_are_deterministic_and_a_strict_user_stays_strict(
    users: tuple[bool, bool], inside: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    torch.use_deterministic_algorithms(users[0], warn_only=users[1])
    before = state()
    with numerics("fp32"):
        assert state() == inside
    assert state() == before


def test_on_a_processor_torch_keeps_its_kernels() -> None:
    before = state()
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with numerics("fp32"):
        assert state()[:3] == before[:3]
