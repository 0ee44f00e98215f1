"""`fedsam geometry RUN_DIR`: every measurement on one run's models, as geometry.json in its directory."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedsam.border.budget import DAY, Need, must_end, must_fit
from fedsam.engine.context import numerics
from fedsam.errors import InputError
from fedsam.flatness.directions import random_direction
from fedsam.flatness.landscape import Landscape
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.flatness.measure import measure
from fedsam.flatness.sharpness import flatness_distance, m_sharpness, noise, worst_in_ball
from fedsam.flatness.spectrum import density, top_eigenvalues
from fedsam.flatness.surface import Plane, between, plane, through
from fedsam.measure.hessian import Hessian
from fedsam.optim.asam import ASAM
from fedsam.optim.sam import SAM
from fedsam.params import Weights
from fedsam.storage.files import on_disk, replace_file

FORMAT = 1
FEW = 2500  # points or products that need no estimate
Part = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What is measured, and how closely. A part whose number is 0, whose list is empty or whose switch is off is left
    out.

    Args:
        images: training examples of the global loss, and at most of each client's.
        top: eigenvalues.
        tolerance: of these, relative.
        trace_vectors: products of the Hessian and a vector for the trace.
        density: whether to estimate the density of all eigenvalues.
        density_steps, density_probes: of stochastic Lanczos quadrature.
        clients: that are looked at one by one.
        sam_radii, asam_radii: ρ of the balls of which the worst loss is sought.
        ascent_steps: of that search.
        m: examples of a mini-batch in m-sharpness.
        sigmas: of the weight noise, absolute and relative.
        draws: of each.
        flatness: whether to train the clients for one more round and compare them with the global model.
        flatness_rho: ρ of the SAM ball there.
        surface: points along each side of the surface in random directions.
        half_width: of that surface, in lengths of the filter-normalised directions.
        plane: points along each side of the plane through the global model and two clients.
        bf16: whether the passes of surface and plane are in bf16, which is quicker; the error is told.
        line: points from the raw to the averaged model, where there is one.
        seed: of what is drawn; None = the run's.
        device: as `engine.device`; None = the run's.
        hours: a part that would take longer, by what a first piece of it takes, is refused.

    Raises:
        InputError: a value is impossible.
    """

    images: int = 1000
    top: int = 5
    tolerance: float = 1e-3
    trace_vectors: int = 30
    density: bool = True
    density_steps: int = 30
    density_probes: int = 2
    clients: int = 5
    sam_radii: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2)
    asam_radii: tuple[float, ...] = (0.1, 0.5, 1.0)
    ascent_steps: int = 5
    m: int = 64
    sigmas: tuple[float, ...] = (0.01, 0.02, 0.05)
    draws: int = 10
    flatness: bool = True
    flatness_rho: float = 0.05
    surface: int = 21
    half_width: float = 1.0
    plane: int = 21
    bf16: bool = False
    line: int = 25
    seed: int | None = None
    device: str | None = None
    hours: float = DAY

    def __post_init__(self) -> None:
        positive = ("images", "top", "density_steps", "density_probes", "ascent_steps", "m", "draws", "half_width")
        for name, value in asdict(self).items():
            least = 1 if name in positive and name != "half_width" else 0
            for number in value if isinstance(value, tuple) else (value,):
                truth = isinstance(number, bool) and name not in ("density", "flatness", "bf16")
                if isinstance(number, int | float) and not (math.isfinite(number) and number >= least and not truth):
                    raise InputError(name, number, f"must be at least {least}" if not truth else "must be a number")
        if not self.half_width or not self.tolerance:
            name = "tolerance" if self.half_width else "half_width"
            raise InputError(name, getattr(self, name), "must be greater than 0")


def study(
    path: Path,
    settings: Settings | None = None,
    tell: Callable[[str], None] = lambda part: None,
    to: Path | None = None,
) -> Part:
    """Measure the models of a run and write geometry.json.

    The served model (model.safetensors, or what the checkpoint would serve) is looked at by spectrum, sharpness, noise
    and surface, on training examples drawn from all clients; `clients` holds the spectrum of single clients' losses at
    that same model. `flatness` and `plane` are around the raw global model, from which clients train on for the run's
    next round. Losses that are not finite are null.

    Args:
        path: the run directory; in it only geometry.json is written.
        settings: what to measure.
        tell: is called with the name of each part as it begins.
        to: another run directory, of the same model: the line to its served model is measured, too.

    Returns:
        what was written.

    Raises:
        InputError: the directory is no run's, was changed, is of another version or holds no model yet.
        RunError: the model is not finite, or the file cannot be written.
    """
    settings = settings or Settings()
    with numerics("fp32"):
        loaded = LoadedRun(path, settings.device)
        with closing(loaded.simulation):
            found = _Study(loaded, settings, tell, to).all()
    file = path / "geometry.json"
    with on_disk(file):
        replace_file(file, (json.dumps(found, allow_nan=False) + "\n").encode())
    return found


class _Study:
    """The parts of a study, one method each."""

    def __init__(self, loaded: LoadedRun, settings: Settings, tell: Callable[[str], None], to: Path | None) -> None:
        self.loaded, self.settings, self.tell, self.other = loaded, settings, tell, to
        self.seed = loaded.run.seed if settings.seed is None else settings.seed
        self.theta_P, self.score = loaded.served.theta_P, loaded.run.learnt.score
        self.clients = loaded.clients(settings.clients)
        self.landscape: Landscape
        self.trained: list[Weights] = []

    def all(self) -> Part:
        loaded, settings = self.loaded, self.settings
        parts: dict[str, tuple[Any, Callable[[], Any]]] = {
            "global": (True, self.spectrum),
            "clients": (self.clients, self.of_clients),
            "sharpness": (settings.sam_radii or settings.asam_radii, self.sharpness),
            "noise": (settings.sigmas, self.noise),
            "flatness": (settings.flatness and self.clients and loaded.whole, self.flatness),
            "surface": (settings.surface, self.surface),
            "plane": (settings.plane and len(self.clients) > 1 and loaded.whole, self.plane),
            "line": (settings.line and loaded.averaged, self.line),
            "to": (settings.line and self.other, self.to),
        }
        self.landscape = loaded.landscape(settings.images, loaded.served)
        self.check()
        found: Part = {
            "format": FORMAT,
            "digest": loaded.digest,
            "round": loaded.round,
            "images": self.landscape.examples,
            "parameters": loaded.context.layout.total,
            "settings": asdict(settings),
        }
        seconds: dict[str, float] = {}
        for name, (wanted, part) in parts.items():
            if wanted:
                self.tell(name)
                began = time.perf_counter()
                found[name] = part()
                seconds[name] = time.perf_counter() - began
        plain: Part = _plain({**found, "seconds": seconds})
        return plain

    def check(self) -> None:
        """Refuse what memory has no room for, or what would take too long by a product and a loss measured here.

        Raises:
            InputError: under the setting at fault.
        """
        settings, parameters = self.settings, self.loaded.context.layout.total
        points = {name: getattr(settings, name) ** 2 for name in ("surface", "plane")} | {"line": settings.line}
        probes = {"density_steps": settings.density_steps * settings.density_probes} if settings.density else {}
        products = {"trace_vectors": settings.trace_vectors, "top": settings.top, **probes}
        must_fit(
            [
                *Hessian(every=1, top=settings.top, trace_vectors=settings.trace_vectors).needs(parameters),
                *(
                    Need(name, getattr(settings, name), f"{count:,} points", 64 * count)
                    for name, count in points.items()
                ),
            ]
        )
        self._must_end(points, lambda: self.landscape.loss(self.theta_P))
        self._must_end(products, lambda: self.landscape.hvp(self.theta_P, self.theta_P[:, None]))

    def _must_end(self, counts: dict[str, int], one: Callable[[], object]) -> None:
        if max(counts.values()) <= FEW:
            return
        began = time.perf_counter()
        one()
        seconds = time.perf_counter() - began
        for name, count in counts.items():
            must_end(name, getattr(self.settings, name), count, seconds, self.settings.hours)

    def spectrum(self) -> Part:
        settings, landscape = self.settings, self.landscape
        found = measure(
            landscape,
            self.theta_P,
            top=settings.top,
            trace_vectors=settings.trace_vectors,
            seed=self.seed,
            tolerance=settings.tolerance,
        )
        del found["images"], found["seconds"]
        found[self.score.name] = landscape.loss_and_value(self.theta_P)[1]
        if settings.density:
            before = landscape.evaluations
            steps, probes = settings.density_steps, settings.density_probes
            found["density"] = asdict(density(landscape, self.theta_P, steps, probes, self.seed))
            found["evaluations"] += landscape.evaluations - before
        return found

    def of_clients(self) -> list[Part]:
        settings, rows = self.settings, []
        for client in self.clients:
            own = self.loaded.landscape(settings.images, self.loaded.served, [client])
            eigen = top_eigenvalues(own, self.theta_P, settings.top, settings.tolerance, self.seed)
            about = {"client": client, "examples": int(self.loaded.federation.sizes([client])[0])}
            rows.append(about | {"loss": own.loss(self.theta_P), "eigenvalues": eigen.values, "ratio": eigen.ratio})
        return rows

    def sharpness(self) -> list[Part]:
        settings, rows = self.settings, []
        for ascent, radii in ((SAM(), settings.sam_radii), (ASAM(), settings.asam_radii)):
            for rho in radii:
                steps, at = settings.ascent_steps, (self.landscape, self.theta_P, ascent, rho)
                worst = worst_in_ball(*at, steps)
                row = {"ball": ascent.name, "rho": rho, "loss": worst.loss, "sharpness": worst.sharpness}
                rows.append(row | {"m_sharpness": m_sharpness(*at, settings.m, steps, self.seed)})
        return rows

    def noise(self) -> list[Part]:
        draws, rows = self.settings.draws, []
        for kind in ("absolute", "relative"):
            for sigma in self.settings.sigmas:
                found = noise(self.landscape, self.theta_P, sigma, draws, kind == "relative", self.seed)
                rows.append({"kind": kind, "sigma": sigma, **self._named(asdict(found)), "draws": draws})
        return rows

    def flatness(self) -> Part:
        loaded, settings = self.loaded, self.settings
        models, ascent = self.models(), SAM()
        own = [
            loaded.landscape(settings.images, model, [client])
            for client, model in zip(self.clients, models, strict=True)
        ]
        found = flatness_distance(
            self.landscape.given(*loaded.raw.statistics),
            loaded.raw.theta_P,
            [model.theta_P for model in models],
            own,
            ascent,
            settings.flatness_rho,
            settings.ascent_steps,
        )
        rows = [{"client": client, **asdict(row)} for client, row in zip(self.clients, found.clients, strict=True)]
        return {
            "clients": rows,
            "global_sharpness": found.global_sharpness,
            "mean_distance": sum(row.distance for row in found.clients) / len(rows),
            "mean_perturbed_distance": sum(row.perturbed_distance for row in found.clients) / len(rows),
            "ball": ascent.name,
            "rho": settings.flatness_rho,
            "lr": loaded.lr,
        }

    def surface(self) -> Part:
        layout, settings = self.loaded.context.layout, self.settings
        right_P, up_P = (random_direction(layout, self.theta_P, self.seed, number) for number in (0, 1))
        found = plane(self.landscape, self.theta_P, right_P, up_P, settings.surface, settings.half_width, settings.bf16)
        return self._grid(found) | {"seed": self.seed}

    def plane(self) -> Part:
        raw, models = self.loaded.raw, self.models()
        landscape = self.landscape.given(*raw.statistics)
        corners = [raw.theta_P, models[0].theta_P, models[1].theta_P]
        found = through(landscape, corners[0], corners[1], corners[2], self.settings.plane, bf16=self.settings.bf16)
        called = ["global", *(f"client {client}" for client in self.clients[:2])]
        points = [
            {"name": name, "x": x, "y": y, "loss": landscape.loss(theta_P)}
            for name, (x, y), theta_P in zip(called, found.points, corners, strict=True)
        ]
        return self._grid(found) | {"points": points}

    def line(self) -> Part:
        raw = self.loaded.raw
        landscape = self.landscape.given(*raw.statistics)
        found = between(landscape, raw.theta_P, self.theta_P, self.settings.line)
        return self._named(asdict(found)) | {"from": "raw", "to": "average"}

    def to(self) -> Part:
        """The line from the served model to that of another run, on this run's examples."""
        assert self.other is not None
        there = LoadedRun(self.other, self.settings.device)
        with closing(there.simulation):
            if there.context.layout != self.loaded.context.layout:
                allowed = (
                    f"its model is not that of {self.loaded.simulation.run.model.name} here, so no line joins them"
                )
                raise InputError("to", str(self.other), allowed)
            other_P = there.served.theta_P.to(self.theta_P)
        found = between(self.landscape, self.theta_P, other_P, self.settings.line)
        return self._named(asdict(found)) | {"from": "this run", "to": str(self.other)}

    def models(self) -> list[Weights]:
        """The clients after one more round; trained when they are first asked for."""
        self.trained = self.trained or self.loaded.trained(self.clients)
        return self.trained

    def _grid(self, found: Plane) -> Part:
        told = {} if found.error is None else {"precision": "bf16", "loss_error": found.error}
        return {"x": found.x, "y": found.y, "loss": found.loss, self.score.name: found.value, **told}

    def _named(self, found: Part) -> Part:
        """With the headline metric by its own name."""
        own = {"value": self.score.name, "value_std": f"{self.score.name}_std"}
        return {own.get(name, name): part for name, part in found.items()}


def _plain(value: Any) -> Any:
    """The same with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
