"""Memory shared between processes: found by its own name, so that nobody else's file is ever opened."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedsam.engine.support.shared_memory import shared_buffer


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no anonymous shared memory")
def test_a_board_is_what_its_name_says(tmp_path: Path) -> None:
    board = shared_buffer(2, 3, "float32")
    assert board is not None
    other = board.place.open()
    assert other is not None
    other[1] = 7
    assert np.array_equal(board.rows_RP[1], [7, 7, 7])
    file = tmp_path / "somebody's"
    file.write_bytes(b"x" * 100)
    link = tmp_path / "link"
    link.symlink_to(file)
    assert replace(board.place, path=str(link)).open() is None
    assert replace(board.place, name="another").open() is None
    assert replace(board.place, path=str(tmp_path / "absent")).open() is None
    assert file.read_bytes() == b"x" * 100
    board.close()
