"""The wheel, in an environment of its own: the three jobs from folders with nothing in them, or with too much.

What fedsam depends on is taken from this environment, so that nothing is fetched; fedsam itself is the wheel's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow]
build = pytest.importorskip("build")

ROOT = Path(__file__).parents[2]
QUICK = ["rounds=2", "data.clients=4", "cohort=2", "client.epochs=1", "evaluate_every=1"]
JOBS = {
    "simulate": ["run", *QUICK, "client.name=asam", "average.name=wima", "--quiet", "--json"],
    "tune": [
        "tune",
        *QUICK,
        "client.lr=log:0.05..0.2",
        "--trials",
        "2",
        "--seeds",
        "1",
        "--workers",
        "1",
        "--quiet",
        "--json",
    ],
    "heterogeneity": ["study", "heterogeneity", *QUICK, "data.alpha=0.5,100", "--seeds", "1", "--quiet", "--json"],
    "compare": [
        "compare",
        "rounds=20",
        "cohort=2",
        "--seeds",
        "1",
        "--quiet",
        "--json",
    ],  # the settings are of fedsam.experiments
}
INTRUDERS = ("strategies/__init__.py", "experiments/__init__.py", "random.py", "tests/__init__.py")
NOTEBOOK = """
import fedsam
from fedsam import Run
from fedsam.optim import ASAM
from fedsam.strategies import SWA
run = Run(rounds=2, cohort=2, client=ASAM(rho=0.5, epochs=1), evaluate_every=1)
print(fedsam.__file__)
print(sorted(fedsam.simulate(run, quiet=True).metrics[-1])[:2])
print(len(fedsam.tune(run, {"client.lr": "log:0.05..0.2"}, trials=2, seeds=1, quiet=True).df))
print(len(fedsam.study(run, {"data.alpha": [0.5, 100]}, seeds=1, quiet=True).df))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which the wheel is installed."""
    home = tmp_path_factory.mktemp("wheel")
    here = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    made = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", *here, "--outdir", home, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode and not here:
        pytest.skip("hatchling is not installed, and cannot be fetched")
    assert made.returncode == 0, made.stderr
    (wheel,) = home.glob("*.whl")
    venv.create(home / "env", symlinks=True, with_pip=False)
    found = home / "env/bin/python"
    command = [sys.executable, "-m", "pip", "--python", found, "install", "--no-deps", "--no-index", "--quiet", wheel]
    subprocess.run(command, check=True)
    own = next((home / "env/lib").glob("python*/site-packages"))
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    assert not {entry.name for entry in own.iterdir()} & {"strategies", "experiments", "tests"}
    return found


@pytest.fixture(params=["empty", "crowded"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty folder, or one with modules that have names of ours and of Python's, and must not be run."""
    if request.param == "crowded":
        for name in INTRUDERS:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("open('was-imported', 'w').close()\n")
    return tmp_path


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "FEDSAM_DATA")}


def test_the_three_jobs_and_the_demonstration(python: Path, folder: Path) -> None:
    for command in ([python.with_name("fedsam")], [python, "-m", "fedsam"]):
        jobs = JOBS if command[0] != python else {"simulate": JOBS["simulate"]}
        for job, words in jobs.items():
            done = subprocess.run(
                [*command, *words], cwd=folder, env=clean(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{job}: {done.stderr}"
            json.loads(done.stdout)
    assert not (folder / "was-imported").exists()
    where = (
        "import fedsam, fedsam.strategies as s, fedsam.experiments as e; print(fedsam.__file__, s.__file__, e.__file__)"
    )
    told = subprocess.run(
        [python, "-I", "-c", where], cwd=folder, env=clean(), capture_output=True, text=True, check=False
    )
    assert all(Path(file).is_relative_to(python.parents[1]) for file in told.stdout.split()), told.stderr


def test_own_modules_stay_importable(python: Path, tmp_path: Path) -> None:
    """A strategies of one's own is what `import strategies` gives, and what a name in it stands for."""
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies/__init__.py").write_text("mine = True\n")
    (tmp_path / "strategies/own.py").write_text(
        "from fedsam.strategies.fedavg import FedAvg\n\nclass Own(FedAvg):\n    pass\n"
    )
    code = "import fedsam.strategies, strategies; print(strategies.mine)"
    told = subprocess.run([python, "-c", code], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False)
    assert told.stdout == "True\n", told.stderr
    words = ["run", *QUICK, "server.name=strategies.own:Own", "--quiet", "--json"]
    done = subprocess.run(
        [python.with_name("fedsam"), *words], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_notebook_does_the_three_jobs(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    kernel = tmp_path / "jupyter/kernels/wheel"
    kernel.mkdir(parents=True)
    start = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": start, "display_name": "wheel", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "work").mkdir()
    cells = [nbformat.v4.new_code_cell(NOTEBOOK)]
    book: Any = nbformat.v4.new_notebook(cells=cells)
    place = {"metadata": {"path": str(tmp_path / "work")}}
    client = nbclient.NotebookClient(book, timeout=None, startup_timeout=600, kernel_name="wheel", resources=place)
    client.execute()
    text = "".join(output.text for output in book.cells[0].outputs if output.get("name") == "stdout")
    file, metrics, trials, settings = text.strip().splitlines()
    assert Path(file).is_relative_to(python.parents[1])
    assert metrics == "['bytes_down', 'bytes_up']"
    assert (int(trials), int(settings)) == (2, 2)
