"""A system of unreliable devices: they drop out, do part of their work, are slow, and are not always there.

Shapes: K clients that are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from fedsam.config import LARGE, key
from fedsam.data.plan import sample_cohort
from fedsam.errors import InputError
from fedsam.rng import stream
from fedsam.system.base import Participation, System
from fedsam.system.windows import sample_available


class Simulated(System):
    """What happens to a client that is asked, in this order; every draw is keyed by the round and the client:

        available   in round t, if (t + phase) mod period < window, window = round(available · period), at least 1
        dropout     with probability `dropout` it is sent the model and never heard of again
        work        it does round(s · K) of its K local steps, s ~ U(work_min, work_max); with 0 it delivers nothing
        deadline    at τ seconds a step, τ = step_seconds · exp(spread · z), z ~ N(0, 1) fixed for each client, it has
                    done its steps in time, or it is late: it delivers nothing, or with `late=partial` the steps that
                    it has done by then, ⌊deadline / τ⌋, if that is at least one

    A round takes as long as the slowest client that delivers; with a late one, until the deadline. That a client has
    dropped out or has no work is known at once, and messages take no time. Weights in the mean are shares of the
    examples of those that deliver, whatever number of steps they took. A round in which nobody delivers leaves the
    model and the server's state as they were.

    Partial work, delivered rather than thrown away: Li et al., MLSys 2020 (FedProx), section 5.2. Deadlines: Nishio and
    Yonetani, ICC 2019. Clients that drop out, and availability by the time of day: Bonawitz et al., MLSys 2019.
    """

    reasons: ClassVar[tuple[str, ...]] = ("dropout", "work", "deadline")

    dropout: float = key(0.0, "probability that a client drops out of a round that it was asked for", "off", ge=0, le=1)
    work_min: float = key(1.0, "smallest share of its local steps that a client does", "off", ge=0, le=1)
    work_max: float = key(1.0, "largest share of its local steps that a client does", "off", ge=0, le=1)
    step_seconds: float = key(
        1.0, "median over the clients of the simulated seconds of a local step", "unit", gt=0, le=LARGE
    )
    spread: float = key(
        0.0, "standard deviation over the clients of the logarithm of these seconds", "off", ge=0, le=100
    )
    deadline: float | None = key(None, "simulated seconds of a round; none = it waits for everybody", "off", gt=0)
    late: Literal["drop", "partial"] = key(
        "drop",
        "one that misses the deadline delivers nothing, or the steps it has done",
        "Nishio and Yonetani 2019",
    )
    available: float = key(1.0, "share of every period in which a client is available", "off", gt=0, le=1)
    period: int = key(24, "rounds of a period", "a day, of rounds of an hour", ge=1, le=10**6)

    def model_post_init(self, context: object) -> None:
        """Refuse shares of work that are none."""
        if self.work_min > self.work_max:
            raise InputError("work_min", self.work_min, f"must be at most work_max = {self.work_max}")
        if not self.uniform and self.sampling.name != "uniform":
            raise InputError("sampling", self.sampling.name, "samples from all clients; set system.available=1")

    @property
    def window(self) -> int:
        """Rounds of a period in which a client is available."""
        return max(1, round(self.available * self.period))

    @property
    def uniform(self) -> bool:
        """Where all clients are always available."""
        return self.window == self.period

    def sample(self, seed: int, round: int, clients: int, cohort: int) -> list[int]:
        """Uniformly from the clients that are available; all of them if there are fewer."""
        if self.window == self.period:
            return sample_cohort(seed, round, clients, cohort)
        return sample_available(seed, round, clients, cohort, self.period, self.window)

    def step_seconds_of(self, seed: int, client: int) -> float:
        """τ, the simulated seconds of a client's local step; the same in every round."""
        return float(self.step_seconds * np.exp(self.spread * stream(seed, "speed", client=client).standard_normal()))

    def participation(
        self, seed: int, round: int, ids: Sequence[int], sizes_K: np.ndarray, steps_K: np.ndarray
    ) -> Participation:
        """What becomes of each client; see above."""
        dropped: dict[str, list[int]] = {reason: [] for reason in self.reasons}
        there: list[tuple[int, int]] = []  # row, steps
        slowest, shortened, late = 0.0, 0, False
        for row, (client, every) in enumerate(zip(ids, steps_K.tolist(), strict=True)):
            if stream(seed, "dropout", round, client).random() < self.dropout:
                dropped["dropout"].append(client)
                continue
            wanted = self._work(seed, round, client, every)
            if wanted == 0:
                dropped["work"].append(client)
                continue
            step = self.step_seconds_of(seed, client)
            done = self._in_time(wanted, step)
            late = late or done < wanted
            if done == 0:
                dropped["deadline"].append(client)
                continue
            there.append((row, done))
            slowest, shortened = max(slowest, done * step), shortened + (done < every)
        rows = [row for row, _ in there]
        done_K = np.array([steps for _, steps in there], dtype=np.int64)
        seconds = self.deadline if late and self.deadline is not None else slowest
        return Participation([ids[row] for row in rows], sizes_K[rows], done_K, dropped, shortened, seconds)

    def _work(self, seed: int, round: int, client: int, steps: int) -> int:
        """round(s · K), halves up."""
        share = self.work_min + (self.work_max - self.work_min) * stream(seed, "work", round, client).random()
        return int(share * steps + 0.5)

    def _in_time(self, steps: int, step: float) -> int:
        """How many of these steps are delivered, at so many seconds each."""
        if self.deadline is None or steps * step <= self.deadline:
            return steps
        return min(steps - 1, int(self.deadline / step)) if self.late == "partial" else 0
