"""Run directories for the tests of the report, and what is read back out of its page."""

from __future__ import annotations

import json
import math
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.data.heterogeneity import describe
from fedsam.rng import stream

EVIL = "<img src=x onerror=alert(1)> & $x^2$ </script>"
Change = dict[str, Any]


def records(rounds: int, seed: int, gain: float = 0.0, every: int = 5, raw: bool = False) -> list[Change]:
    """Recorded rounds as a run writes them."""
    rng = stream(seed, "report")
    found = []
    for at in range(every, rounds + 1, every):
        accuracy = 0.3 + 0.6 * (1 - math.exp(-at / 20)) + gain + 0.02 * float(rng.standard_normal())
        record: Change = {
            "round": at,
            "test_accuracy": accuracy,
            "test_loss": 2 - accuracy,
            "train_loss": 1.5 - accuracy,
        }
        record |= {"lr": 0.1, "clients": [at % 7, 9], "bytes_up": 1_000_000, "bytes_down": 1_500_000}
        record |= {"seconds": 0.2 + 0.01 * seed, "eval_seconds": 0.01}
        found.append(record | ({"raw_test_accuracy": accuracy - 0.01} if raw else {}))
    return found


def write_run(path: Path, keys: Change, metrics: list[Change], **beside: Any) -> Path:
    """A run directory; `beside` are its other JSON files by name."""
    path.mkdir(parents=True)
    common = {"data.name": "digits", "data.clients": 12, "model.name": "mlp", "client.name": "sgd", "client.lr": 0.1}
    common |= {"server.name": "fedavg", "average.name": "none", "rounds": 40, "cohort": 5, "seed": 0, "out": str(path)}
    environment = {"hardware": {"cores": 2, "gpus": []}, "versions": {"python": "3.11.7"}, "commit": None}
    described = {"format": 1, "keys": common | keys, "digest": "d" * 64, "environment": environment}
    (path / "run.json").write_text(json.dumps(described))
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in metrics))
    for name, content in beside.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def partition(clients: int = 12, classes: int = 5, seed: int = 0) -> Change:
    counts = stream(seed, "counts").integers(0, 30, size=(clients, classes))
    described = describe(counts)
    examples = described.pop("sizes")
    shown = counts[:200].tolist()
    about = {"clients": clients, "classes": classes, "examples": examples, "label_counts": shown, "shown": len(shown)}
    return about | {"measures": described | {"odd_new_measure": 0.125}}


def geometry(seed: int = 0, steep: bool = False) -> Change:
    """A geometry.json with every part."""
    at = np.linspace(-1, 1, 21)
    bowl = 0.4 + (40.0 if steep else 2.0) * (at[:, None] ** 2 + 3 * at[None, :] ** 2) * (1 + 0.2 * seed)
    accuracy = (np.exp(-bowl)).tolist()
    grid = np.linspace(-5, 40, 90)
    density = np.exp(-(grid**2) / 4) + 0.01 * np.exp(-((grid - 30) ** 2))
    top = [30.0 + seed, 14.0, 9.0, 6.0, 4.0]
    noise = [
        {
            "kind": kind,
            "sigma": s,
            "loss": 0.3 + s,
            "loss_std": 0.02,
            "accuracy": 0.9 - s,
            "accuracy_std": 0.03,
            "draws": 4,
        }
        for kind in ("absolute", "relative")
        for s in (0.01, 0.05, 0.1)
    ]
    sharp = [
        {"ball": ball, "rho": rho, "loss": 0.3 + rho, "sharpness": rho, "m_sharpness": 1.5 * rho}
        for ball in ("l2", "adaptive")
        for rho in (0.05, 0.1, 0.2)
    ]
    flat = [
        {
            "client": k,
            "distance": 1.0 + k,
            "perturbed_distance": 1.1 + k,
            "sharpness_own": 0.3 / (k + 1),
            "sharpness_global": 0.1 + 0.02 * k,
        }
        for k in range(6)
    ]
    points = [{"name": "raw", "x": 0.0, "y": 0.0, "loss": 0.31}, {"name": "averaged", "x": 0.4, "y": 0.3, "loss": 0.22}]
    box = {"x": at.tolist(), "y": at.tolist(), "loss": bowl.tolist(), "accuracy": accuracy}
    whole = {"loss": 0.2, "accuracy": 0.93, "gradient_norm": 0.11, "eigenvalues": top, "residuals": [1e-5] * 5}
    whole |= {"ratio": top[0] / top[-1], "trace": 120.0, "trace_error": 3.5, "evaluations": 200}
    whole["density"] = {"grid": grid.tolist(), "density": density.tolist(), "width": 0.5}
    clients = [
        {"client": k, "examples": 20 + 3 * k, "loss": 0.1 * k, "eigenvalues": [20.0 + k * k, 3.0], "ratio": 7.0}
        for k in range(6)
    ]
    line = {
        "t": at.tolist(),
        "loss": (0.2 + at**2).tolist(),
        "accuracy": (0.9 - at**2 / 2).tolist(),
        "from": "seed 0",
        "to": "seed 1",
    }
    about: Change = {"format": 1, "digest": "d" * 64, "round": 40, "images": 1400, "parameters": 4810, "global": whole}
    about |= {"clients": clients, "sharpness": sharp, "noise": noise, "flatness": {"clients": flat, "spread": 0.7}}
    return about | {
        "surface": box,
        "plane": box | {"points": points},
        "line": line,
        "to": line | {"loss": (0.3 + at**2).tolist(), "to": "runs/<other>"},
        "seconds": {"eigenvalues": 1.25, "surface": 9.5},
    }


def everything(path: Path) -> Path:
    """Two settings with two seeds each, and every file there is."""
    for seed in (0, 1):
        for name, own in (("sgd", {}), ("sam", {"client.name": "sam", "client.rho": 0.3, "average.name": "swa"})):
            metrics = records(40, seed, 0.03 if own else 0.0, raw=bool(own))
            for record in metrics:
                at = record["round"]
                record["robust_accuracy"] = record["test_accuracy"] / 2
                record["lr"] = 0.1 / at
                if at % 10 == 0:
                    tops = [40.0 * at / 40 + seed, 12.0, 8.0]
                    record["geometry"] = {
                        "loss": 0.3,
                        "gradient_norm": 0.1,
                        "eigenvalues": tops,
                        "ratio": 4.0,
                        "trace": 90.0,
                        "trace_error": 2.0,
                    }
            metrics[2]["failures"] = [{"round": 14, "client": 3, "error": "ValueError: broken client"}]
            accuracy = np.clip(stream(seed, name).normal(0.8, 0.15, size=12), 0, 1).tolist()
            local = {"round": 40, "accuracy": [None, *accuracy[1:]], "examples": [0, *range(3, 14)], "loss": accuracy}
            other = {"clients": local, "partition": partition(seed=seed)}
            if seed == 0:
                other["geometry"] = geometry(steep=bool(own))
            write_run(path / f"{len(own)}-{name}-{seed}", own | {"seed": seed}, metrics, **other)
    return path


def figures(html: str) -> dict[str, Any]:
    """Every figure's data and layout, read back as anyone could."""
    pattern = r'<script type="application/json" id="data-([^"]+)">(.*?)</script>'
    return {id: json.loads(text) for id, text in re.findall(pattern, html, re.S)}


def tables(html: str) -> list[list[list[str]]]:
    """Every table's rows of plain text, its header first."""
    return [
        [
            [unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row, re.S)]
            for row in re.findall(r"<tr>.*?</tr>", table, re.S)
        ]
        for table in re.findall(r"<table>.*?</table>", html.partition("<script>/*")[0], re.S)
    ]


def table(html: str, *header: str) -> list[list[str]]:
    """The rows of the table whose header begins so."""
    (found,) = [rows for rows in tables(html) if rows and rows[0][: len(header)] == list(header)]
    return found[1:]


def anchors(html: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)">', html)


def lines(figure: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {trace["name"]: (trace["x"], trace["y"]) for trace in figure["data"]}
