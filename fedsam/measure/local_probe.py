"""What an evaluation of clients is: a probe that looks at clients one by one."""

from __future__ import annotations

from typing import ClassVar

from fedsam.measure.probe import Probe
from fedsam.measure.score import Score


class LocalProbe(Probe):
    """A measurement on the clients' own test sets, which `data.local_test` holds out."""

    kind: ClassVar[str] = "evaluation of clients"
    package: ClassVar[str] = "fedsam.measure"

    def check(self, score: Score) -> None:
        """Refuse keys that make no sense for the metric that a run is judged by; by default there are none.

        Raises:
            InputError: under the key at fault.
        """
