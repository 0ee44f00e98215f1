"""The fake device, for each module of tests in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_cuda import guard
from tests.support.fake_cuda.process import Process, process


@pytest.fixture(scope="module")
def fake() -> Iterator[Process]:
    if why := guard.missing():
        pytest.skip(why)
    with process() as started:
        yield started
