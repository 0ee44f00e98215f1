"""Several labels of made-up inputs, by linear functions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedsam.data.base import Split
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.rng import stream
from fedsam.tasks.base import Task


class Signs(Partitioned):
    """The signs of linear functions of normal inputs; the wrong kind of targets on demand."""

    task: ClassVar[str | Task] = "multilabel"
    offers = frozenset()

    wrong: bool = False

    def read(self) -> tuple[Spec, Split, Split]:
        rng = stream(0, "signs")
        inputs = rng.standard_normal((300, 6)).astype(np.float32)
        holds = (inputs @ rng.standard_normal((6, 4)) > 0).astype(np.uint8) * (1 + self.wrong)
        spec = Spec(None, (6,), target_shape=(4,))
        return spec, Split(inputs[:200], holds[:200]), Split(inputs[200:], holds[200:])
