"""`make gpu` with the packages alone that a machine with a GPU has, on the processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.gpu.everything import PARTS, Part, Told, carry_out, environment_with, table

ROOT = Path(__file__).parents[2]
THERE = ("torch", "numpy", "scipy", "scikit-learn", "rich", "typer", "safetensors")
CARRIED = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection")


def with_what_they_need(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name)
    return found


def top_levels(name: str) -> set[Path]:
    """Files and folders of an installed package."""
    files = metadata.files(name) or []
    found = {Path(str(file.locate())).parents[len(file.parts) - 2] for file in files if len(file.parts) > 1}
    alone = {Path(str(file.locate())) for file in files if len(file.parts) == 1}
    return {path for path in found | alone if path.exists() and ".." not in path.parts}


def bare_python(folder: Path) -> Path:
    """A Python with `THERE` and what that needs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in with_what_they_need(THERE) - set(CARRIED):
        for path in top_levels(name):
            if not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    return folder / "bin" / "python"


def wheels(folder: Path) -> Path:
    """`CARRIED`, packed again."""
    folder.mkdir()
    for name in CARRIED:
        with zipfile.ZipFile(folder / f"{name}.whl", "w") as archive:
            for file in metadata.files(name) or []:
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    archive.write(str(file.locate()), str(file))
    return folder


@pytest.mark.slow
def test_rehearsal(tmp_path: Path) -> None:
    python, out = bare_python(tmp_path / "bare"), tmp_path / "found.jsonl"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    missing = [subprocess.run([python, "-c", f"import {name}"], env=clean, capture_output=True, check=False).returncode
               for name in ("pytest", "flwr", "ray", "pydantic", "torch")]  # fmt: skip
    assert missing == [1, 1, 1, 1, 0]
    command = [python, "-m", "tests.gpu.everything", out, "--minutes", "3", "--rounds", "1"]
    command += ["--wheels", wheels(tmp_path / "wheels")]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert not [line for line in lines if "error" in line], done.stderr[-3000:]
    assert done.returncode == 0
    for part in PARTS:  # each was carried out, or it is said that it was not
        assert [line for line in lines if line["part"] == part.name and ("seconds" in line or "left_out" in line)]
    assert any("device" in line for line in lines)
    assert "checks passed" in done.stdout


def test_make_gpu_needs_no_environment_of_its_own() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "gpu", "PYTHON=there"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["there", "-m", "tests.gpu.everything", "bench-gpu.jsonl"]


@pytest.mark.slow
def test_lines_are_on_disk_before_a_part_is_ended(tmp_path: Path) -> None:
    """A process that would never end, and one that dies."""
    (tmp_path / "tests" / "gpu").mkdir(parents=True)
    (tmp_path / "tests" / "__init__.py").touch()
    (tmp_path / "tests" / "gpu" / "__init__.py").touch()
    told_and_stuck = 'import sys, time\nprint(\'{"check": "one"}\', flush=True)\n'
    part = tmp_path / "tests" / "gpu" / "part.py"
    out = tmp_path / "found.jsonl"
    environment = environment_with([]) | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    with out.open("w") as file:
        told = Told(file)
        for code in ("time.sleep(600)", "sys.exit(7)"):
            part.write_text(told_and_stuck + code)
            carry_out(Part("checks", 0, 600), 20, told, environment, 1)
        assert [json.loads(line) for line in out.read_text().splitlines()] == told.lines
    ends = [line.get("left_out", line.get("error")) for line in told.lines if "left_out" in line or "error" in line]
    assert ends == ["the rest, after 20 s", "its process ended with status 7"]
    assert sum("check" in line for line in told.lines) == 2


def test_the_table_says_what_failed_and_what_was_left_out() -> None:
    measured = {"case": "tiny", "variant": "1 step", "precision": "fp32", "seconds_per_round": 0.0042}
    lines = [
        {"part": "checks", "check": "one", "seconds": 1.0},
        {"part": "checks", "check": "two", "seconds": 1.0, "error": "AssertionError: no"},
        {"part": "tiny", **measured, "limit_ratio": 1.5},
        {"part": "tiny", "seconds": 3.25},
        {"part": "ways", "left_out": "4 s were left, it wants 20"},
    ]
    assert table(lines).splitlines() == [
        "       1  checks passed",
        "FAILED    checks: two AssertionError: no",
        "    4.20  ms, tiny: 1 step, fp32, 1.50 of the limit's",
        "     3.2  s, tiny in all",
        "left out  ways: 4 s were left, it wants 20",
    ]
