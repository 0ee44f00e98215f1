"""`fedsam.partition`: how a data set is divided among the clients.

Shapes: K clients, L classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsam.data.heterogeneity import describe
from fedsam.data.validation import federation_of
from fedsam.errors import under
from fedsam.jobs.keys import keys_of
from fedsam.reports.label_figure import sheet
from fedsam.run import Run
from fedsam.runs.naming import safe
from fedsam.runs.shown import Shown
from fedsam.storage.files import on_disk

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet


@dataclass(frozen=True, repr=False)
class Division(Shown):
    """A division of a data set.

    Args:
        run: whose data it is of.
        counts_KL: training examples of each class at each client, int64.
        classes: how many there are; None where examples have none.
    """

    run: Run
    counts_KL: np.ndarray
    classes: int | None

    def summary(self) -> dict[str, Any]:
        """Sizes, classes and divergence, as plain JSON types; see `fedsam.data.heterogeneity.describe`."""
        return describe(self.counts_KL)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each client: its examples, how many classes it has, and its examples of each."""
        return [
            {
                "client": client,
                "examples": int(counts_L.sum()),
                "classes": int((counts_L > 0).sum()),
                **{f"class {label}": int(count) for label, count in enumerate(counts_L)},
            }
            for client, counts_L in enumerate(self.counts_KL)
        ]

    @property
    def how(self) -> str:
        """By what rule."""
        keys = self.run.keys()
        shown = [key for key in ("data.partition", "data.alpha", "data.sigma") if key in keys]
        return " ".join(f"{key.removeprefix('data.')}={keys[key]}" for key in shown)

    def facts(self) -> dict[str, str]:
        """What a person is told, by what it is called."""
        told, run = self.summary(), self.run
        sizes, classes = np.array(told["sizes"]), np.array(told["classes_per_client"])
        return {
            "data set": f"{run.data.name}: {sizes.sum():,} training examples, {self.classes} classes",
            "clients": f"{len(sizes):,} ({self.how}, seed {run.seed})",
            "examples per client": _spread(sizes),
            "classes per client": _spread(classes),
            "divergence of labels": f"mean {told['js_mean']:.3f}, std {told['js_std']:.3f} bits"
            " (Jensen-Shannon, from the whole: 0 = the same, 1 = disjoint)",
            "distance of labels": f"mean {told['emd_mean']:.3f}, std {told['emd_std']:.3f}"
            " (sum of differences from the whole, Zhao et al.'s EMD: 0 = the same, 2 = disjoint)",
            "Gini of sizes": f"{told['gini']:.3f} (0 = all equal)",
        }

    def headline(self) -> str:
        """Data set, clients and mean divergence."""
        told = self.summary()
        return f"{self.run.data.name}, {len(self.counts_KL)} clients, {self.how}: JS {told['js_mean']:.3f} bits"

    def table(self) -> tuple[list[str], list[tuple[str, str]]]:
        """What there is to be known, line by line."""
        return ["", ""], list(self.facts().items())

    def plot(self) -> Sheet:
        """Which classes each client has."""
        return sheet(
            self.counts_KL, f"{self.run.data.name}, {len(self.counts_KL)} clients, {self.how}, seed {self.run.seed}"
        )

    def save(self, path: Path | None = None) -> Path:
        """Write the figure as PNG; the file, by default one under runs/."""
        named = self.how.replace("partition=", "").replace("=", "")
        file = path or Path("runs") / f"{safe(f'partition-{self.run.data.name}-{named}')}.png"
        with on_disk(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self.plot().savefig(file, format="png")
        return file


def partition(run: Run | None = None, keys: Mapping[str, Any] | None = None) -> Division:
    """How a data set is divided among the clients: sizes, classes, divergence, and a figure.

        fedsam.partition(keys={"data.alpha": 0.1, "data.clients": 20}).plot()

    Args:
        run: whose data and seed count.
        keys: dotted keys, which win.

    Raises:
        InputError: the data cannot be read or divided so.
    """
    chosen = keys_of(run, keys)
    found = run if run is not None and not keys else Run.from_keys({"cohort": 1, **chosen})
    with under("data"):
        federation = federation_of(found.data, found.seed, task=found.learnt)
    return Division(found, federation.label_counts(range(federation.clients)), federation.spec.classes)


def _spread(values: np.ndarray) -> str:
    return f"min {values.min()}, mean {values.mean():.4g}, max {values.max()}"
