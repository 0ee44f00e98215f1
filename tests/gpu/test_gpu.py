"""What only a GPU can show; `pytest -m gpu` runs it."""

from __future__ import annotations

import pytest
import torch

from tests.gpu.checks import CHECKS

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


@pytest.mark.parametrize("check", CHECKS)
def test_on_the_gpu(check: str) -> None:
    CHECKS[check]()
