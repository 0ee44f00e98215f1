"""`fedsam partition`: how a data set is divided among the clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsam.border.foreign import no_imports
from fedsam.cli.options import Debug, Json, Keys, file_to_write
from fedsam.cli.settings import parse
from fedsam.errors import under
from fedsam.storage.files import on_disk

if TYPE_CHECKING:
    import numpy as np

    from fedsam.run import Run


def partition(
    settings: Keys = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="where to draw the label distribution", show_default="runs/partition-*.png"),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show how a data set is divided among the clients: sizes, classes, divergence, and a figure.

    For example: fedsam partition data.partition=dirichlet data.alpha=0.1 data.clients=20
    """
    run = _divided(settings or [])
    given = None if figure is None else file_to_write("--figure", figure)
    import numpy as np

    from fedsam.data.heterogeneity import describe
    from fedsam.data.validation import federation_of
    from fedsam.reports.label_figure import draw
    from fedsam.runs.progress import show_facts

    with under("data"):
        federation = federation_of(run.data, run.seed, task=run.learnt)
    counts_KL = federation.label_counts(range(federation.clients))
    described = describe(counts_KL)
    keys = run.keys()
    how = " ".join(
        f"{key.removeprefix('data.')}={keys[key]}"
        for key in ("data.partition", "data.alpha", "data.sigma")
        if key in keys
    )
    named = how.replace("partition=", "").replace(" ", "-").replace("=", "")
    path = given or Path("runs") / f"partition-{run.data.name}-{named}.png"
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


def _divided(arguments: list[str]) -> Run:
    """A run of which only the data count: nothing else of it is imported, and of the data what was typed."""
    keys = {"cohort": 1, **parse(arguments)}
    others = {name.partition(".")[0] for name, value in keys.items() if name.endswith(".name") and ":" in str(value)}
    own = {name: value for name, value in keys.items() if name.partition(".")[0] not in others - {"data"}}
    typed = parse([word for word in arguments if "=" in word])
    but = [value for name, value in typed.items() if name.startswith("data.")]
    from fedsam.run import Run

    with no_imports("it stands in a file; to see how such data are divided give it on the command line", but):
        return Run.from_keys(own)


def _spread(values: np.ndarray) -> str:
    return f"min {values.min()}, mean {values.mean():.4g}, max {values.max()}"
