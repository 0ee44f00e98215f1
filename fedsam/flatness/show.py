"""What a study found, in a few lines for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedsam.measure.score import Score
from fedsam.runs.progress import show_facts


def show(found: dict[str, Any], score: Score, run_dir: Path, page: Path) -> None:
    """Print `facts`."""
    show_facts(facts(found, score, run_dir, page))


def facts(found: dict[str, Any], score: Score, run_dir: Path, page: Path) -> dict[str, str]:
    """The main numbers of geometry.json, and where the rest is, by what they are called.

    Args:
        found: what `fedsam.flatness.study.study` returns.
        score: how the metric is told that the run is judged by.
        run_dir: of the run.
        page: the report.
    """
    whole = found["global"]
    spec = {
        "model": f"round {found['round']}, {found['parameters']:,} parameters, {found['images']:,} training images",
        f"loss and {score.words} there": f"{_number(whole['loss'])}, {score.text(whole[score.name])}",
        "largest eigenvalues": ", ".join(map(_number, whole["eigenvalues"])),
        "λ1 / λ5": _number(whole["ratio"]),
        "trace": f"{_number(whole['trace'])} ± {_number(whole['trace_error'])}",
    }
    if rows := found.get("clients"):
        largest = ", ".join(f"{row['client']}: {_number(row['eigenvalues'][0])}" for row in rows)
        spec["λ1 of single clients' losses"] = largest
    for ball in ("sam", "asam"):
        rows = [row for row in found.get("sharpness", []) if row["ball"] == ball]
        if rows:
            name = f"loss rises in {ball.upper()}'s ball by"
            spec[name] = ", ".join(f"{_number(row['sharpness'])} (ρ = {row['rho']:g})" for row in rows)
    if rows := [row for row in found.get("noise", []) if row["kind"] == "absolute"]:
        noisy = (f"{score.text(row[score.name])} (σ = {row['sigma']:g})" for row in rows)
        spec[f"{score.words} under weight noise"] = ", ".join(noisy)
    if flat := found.get("flatness"):
        spec["clients from the global model"] = (
            f"{_number(flat['mean_distance'])}, their perturbed points {_number(flat['mean_perturbed_distance'])}"
            f" (ρ = {flat['rho']:g})"
        )
    if line := found.get("to"):
        spec[f"highest loss on the line to {line['to']}"] = _number(max(x for x in line["loss"] if x is not None))
    return {**spec, "all of it": str(run_dir / "geometry.json"), "report": str(page)}


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
