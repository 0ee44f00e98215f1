"""`fedsam partition`: how a data set is divided among the clients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fedsam.errors import under
from fedsam.run import Run
from fedsam.storage.files import on_disk


def report(run: Run, figure: Path | None, as_json: bool) -> None:
    """Print sizes, classes per client, divergence from the whole and Gini of sizes, and draw the label distribution.

    Args:
        run: its data set and seed are what counts.
        figure: where to draw; None = a name made from the settings under runs/.
        as_json: print one JSON object instead of a table.
    """
    from fedsam.data.heterogeneity import describe
    from fedsam.data.validation import federation_of
    from fedsam.report.label_figure import draw
    from fedsam.runs.progress import show_facts

    with under("data"):
        federation = federation_of(run.data, run.seed)
    counts_KL = federation.label_counts(range(federation.clients))
    described = describe(counts_KL)
    keys = run.keys()
    how = " ".join(
        f"{key.removeprefix('data.')}={keys[key]}"
        for key in ("data.partition", "data.alpha", "data.sigma")
        if key in keys
    )
    path = (
        figure
        or Path("runs")
        / f"partition-{run.data.name}-{how.replace('partition=', '').replace(' ', '-').replace('=', '')}.png"
    )
    with on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(counts_KL, path, f"{run.data.name}, {federation.clients} clients, {how}, seed {run.seed}")
    if as_json:
        print(json.dumps(described))
        return
    sizes, classes = np.array(described["sizes"]), np.array(described["classes_per_client"])
    show_facts(
        {
            "data set": f"{run.data.name}: {sizes.sum():,} training examples, {federation.spec.classes} classes",
            "clients": f"{federation.clients:,} ({how}, seed {run.seed})",
            "examples per client": _spread(sizes),
            "classes per client": _spread(classes),
            "divergence of labels": f"mean {described['js_mean']:.3f}, std {described['js_std']:.3f} bits"
            " (Jensen-Shannon, from the whole: 0 = the same, 1 = disjoint)",
            "distance of labels": f"mean {described['emd_mean']:.3f}, std {described['emd_std']:.3f}"
            " (sum of differences from the whole, Zhao et al.'s EMD: 0 = the same, 2 = disjoint)",
            "Gini of sizes": f"{described['gini']:.3f} (0 = all equal)",
            "figure": str(path),
        }
    )


def _spread(values: np.ndarray) -> str:
    return f"min {values.min()}, mean {values.mean():.4g}, max {values.max()}"
