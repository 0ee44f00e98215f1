"""The jobs in Python: the same results as the commands, with objects in and out."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Listener, Run
from fedsam.cli import main
from fedsam.errors import Interrupted
from fedsam.jobs.keys import keys_of
from fedsam.optim.asam import ASAM
from fedsam.optim.sam import SAM

QUICK: dict[str, Any] = {"rounds": 2, "cohort": 2, "data.clients": 10, "client.epochs": 1}
WORDS = [f"{key}={value}" for key, value in QUICK.items()]


def command(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--json", "--quiet"])
    assert caught.value.code == 0
    return json.loads(capsys.readouterr().out)


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds_per_round"} for row in rows]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_job_is_a_function_that_says_what_it_does() -> None:
    for name in ("simulate", "resume", "compare", "sweep", "tune", "study", "partition", "geometry", "report"):
        job = getattr(fedsam, name)
        assert inspect.isfunction(job)
        assert job.__name__ == name
        assert job.__doc__
        assert name in fedsam.__all__
        assert name in dir(fedsam)


def test_jobs_keep_their_names_whatever_is_imported() -> None:
    code = (
        "import pkgutil, fedsam, importlib\n"
        "for m in pkgutil.iter_modules(fedsam.__path__):\n"
        "    importlib.import_module('fedsam.' + m.name) if m.name != '__main__' else None\n"
        "import fedsam.tuning.tune, fedsam.flatness.study, fedsam.reports.write, fedsam.jobs.sweep\n"
        "jobs = ('simulate', 'compare', 'sweep', 'tune', 'study', 'partition', 'geometry', 'report')\n"
        "assert all(callable(getattr(fedsam, name)) for name in jobs)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_light() -> None:
    code = (
        "import sys, fedsam\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'ray', 'rich', 'pydantic', 'numpy', 'IPython'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_keys_of_a_run_are_those_that_were_chosen() -> None:
    run = Run(client=ASAM(rho=0.5, lr=0.2), data={"name": "digits", "alpha": 0.3}, rounds=150)
    assert keys_of(run, None) == {
        "data.alpha": 0.3,
        "client.name": "asam",
        "client.rho": 0.5,  # its default, but chosen
        "client.lr": 0.2,
        "rounds": 150,
    }
    assert keys_of(run.replace(seed=3), {"client.rho": 1.0})["client.rho"] == 1.0
    assert keys_of(run.replace(seed=3), None)["seed"] == 3
    assert Run.from_keys(keys_of(run, None)) == run
    assert keys_of(None, None) == keys_of(Run(), None) == {}


def test_a_part_that_is_chosen_later_has_its_own_defaults(inside: Path) -> None:
    # SAM's default ρ is not ASAM's
    found = fedsam.sweep(Run.from_keys({**QUICK, "client.name": "sam"}), {"client.name": ["sam", "asam"]}, seeds=1)
    rho = {run.client.name: run.keys()["client.rho"] for run in found.runs.values()}
    assert rho == {"sam": SAM().rho, "asam": ASAM().rho}
    assert SAM().rho != ASAM().rho


def test_sweep_is_the_command(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = fedsam.sweep(Run.from_keys(QUICK), {"client.name": ["sgd", "sam"]}, seeds=2, out="a", quiet=True)
    rows = command(capsys, "sweep", *WORDS, "client.name=sgd,sam", "--seeds", "2", "out=b")
    assert timeless(found.rows()) == timeless(rows)
    assert json.loads(Path("a/compare.json").read_text()) == found.rows()
    assert list(found.df.setting) == ["client.name=sgd", "client.name=sam"]
    assert found.df["mean"].tolist() == [row["mean"] for row in rows]
    text = repr(found).splitlines()
    assert text[0] == "test accuracy, mean of the last 20 rounds, 2 seeds"
    assert [line.split()[0] for line in text[2:]] == ["SGD", "SAM"]
    assert found._repr_html_().count("<tr>") == 3


def test_sweep_called_again_does_nothing_anew(inside: Path) -> None:
    first = fedsam.sweep(Run.from_keys(QUICK), {"client.lr": [0.1, 0.2]}, seeds=1)
    written = {file: file.stat().st_mtime_ns for file in first.out.rglob("model.safetensors")}
    again = fedsam.sweep(Run.from_keys(QUICK), {"client.lr": [0.1, 0.2]}, seeds=1)
    assert again.out == first.out
    assert len(written) == 2
    assert {file: file.stat().st_mtime_ns for file in again.out.rglob("model.safetensors")} == written


def test_compare_is_the_command_and_takes_runs_by_name(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = command(capsys, "compare", *WORDS, "client.name=sgd,sam", "--seeds", "1")
    keys = fedsam.compare(Run.from_keys(QUICK), {"client.name": ["sgd", "sam"]}, seeds=1)
    assert timeless(keys.rows()) == timeless(rows)
    runs = {"plain": Run.from_keys(QUICK), "sharp": Run.from_keys({**QUICK, "client.name": "sam"})}
    named = fedsam.compare(runs, seeds=1, out="c")
    assert [row["setting"] for row in named.rows()] == ["plain", "sharp"]
    assert [row["mean"] for row in named.rows()] == [row["mean"] for row in rows]
    longer = fedsam.compare(runs, {"rounds": 3}, seeds=1, out="d")
    assert {run.rounds for run in longer.runs.values()} == {3}
    assert longer.runs["sharp"].client.name == "sam"


def test_compare_without_several_values_is_the_demonstration(inside: Path) -> None:
    found = fedsam.compare(keys={**QUICK, "rounds": 20}, seeds=1)
    assert list(found.runs) == ["FedAvg", "FedSAM", "FedASAM", "FedASAM + SWA"]


def test_study_is_the_command(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {"client.name": ["sgd"], "data.alpha": [0.1, 10]}
    found = fedsam.study(Run.from_keys(QUICK), asked, seeds=1, out="a")
    rows = command(
        capsys, "study", "heterogeneity", *WORDS, "client.name=sgd", "data.alpha=0.1,10", "--seeds", "1", "--out", "b"
    )
    assert json.loads(json.dumps(found.rows())) == rows
    assert found.df.shape[0] == 2
    assert found.plot().axes[0].lines
    assert "mean ± standard deviation" in repr(found)


def test_partition_is_the_command(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = fedsam.partition(keys={"data.alpha": 0.1, "data.clients": 10})
    assert found.summary() == command_of_partition(capsys)
    assert found.df.examples.tolist() == found.summary()["sizes"]
    assert found.df.classes.tolist() == found.summary()["classes_per_client"]
    assert (found.df.filter(like="class ").to_numpy().sum(axis=1) == found.df.examples).all()
    assert "10 clients" in repr(found)
    assert found.plot().axes[0].get_title("left").startswith("digits, 10 clients")
    assert found.save(Path("f/labels.png")).is_file()
    assert np.array_equal(fedsam.partition(Run.from_keys({"data.alpha": 0.1, **QUICK})).counts_KL, found.counts_KL)


def command_of_partition(capsys: pytest.CaptureFixture[str]) -> Any:
    with pytest.raises(SystemExit):
        main(["partition", "data.alpha=0.1", "data.clients=10", "--json"])
    return json.loads(capsys.readouterr().out)


def test_geometry_and_report_of_a_result(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = fedsam.simulate(Run.from_keys({**QUICK, "out": "r"}))
    found = fedsam.geometry(result, images=20, clients=0, surface=0)
    assert json.loads(Path("r/geometry.json").read_text())["global"] == found.found["global"]
    assert found.df.eigenvalue_1[0] == found.found["global"]["eigenvalues"][0]
    assert "λ₁" in repr(found)
    assert found.plot().axes
    assert "noise" in found.plot("noise-loss").axes[0].get_xlabel()  # what is around the model, too
    with pytest.raises(InputError, match=r"there are .*density"):
        found.plot("nothing")
    assert found.page == Path("r/report.html")
    page = fedsam.report(["r"], out="page.html", figures="figures")
    assert page.path.is_file()
    assert list(Path("figures").glob("*.png"))
    assert page.df.test_accuracy.tolist() == result.df.test_accuracy.tolist()
    with pytest.raises(InputError, match="has no directory"):
        fedsam.geometry(fedsam.simulate(Run.from_keys(QUICK)))


def test_tune_gives_trials(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fedsam.tuning.result import Tuned

    result = tuned_by_hand()
    assert isinstance(result, Tuned)
    assert result.df.trial.tolist() == [0, 1, 2]
    assert result.df["client.lr"].tolist() == [0.1, 0.2, 0.3]
    assert "best: client.lr=0.3" in repr(result)
    best = result.plot().axes[0].lines[1].get_ydata()
    assert list(best) == pytest.approx([50.0, 50.0, 70.0])
    with pytest.raises(InputError, match="nothing to tune"):
        fedsam.tune(Run.from_keys(QUICK), {}, trials=2)


def tuned_by_hand() -> Any:
    from fedsam.measure.score import ACCURACY
    from fedsam.tuning.ledger import Trial
    from fedsam.tuning.result import Tuned
    from fedsam.tuning.search.base import Outcome
    from fedsam.tuning.space import space_of

    space = space_of({"client.lr": "0.1..0.3"})
    trials = []
    for number, value in enumerate((0.5, 0.4, 0.7)):
        trial = Trial(number, {"client.lr": round(0.1 * (number + 1), 1)})
        trial.outcome = Outcome("done", 10, value, loss=1.0, seconds=1.0)
        trials.append(trial)
    return Tuned(space, trials, trials[2], 10, {1000: 0.6}, ACCURACY, Path("runs/t"))


def test_a_result_shows_itself() -> None:
    result = fedsam.simulate(Run.from_keys({**QUICK, "evaluate_every": 1}))
    assert result.df["round"].tolist() == [1, 2]
    assert len(repr(result)) < 200
    assert "test accuracy" in repr(result)
    assert "state" not in repr(result)
    assert result._repr_html_() == f"<p>{result!r}</p>"
    line = result.plot().axes[0].lines[0]
    assert list(line.get_ydata()) == pytest.approx([100 * value for value in result.df.test_accuracy])


def test_a_figure_shows_itself_and_pyplot_knows_nothing_of_it() -> None:
    figure = fedsam.simulate(Run.from_keys({**QUICK, "rounds": 1})).plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_without_pandas_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fedsam.simulate(Run.from_keys({**QUICK, "rounds": 1}))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        _ = result.df


def test_callbacks_are_functions_or_listeners(capsys: pytest.CaptureFixture[str]) -> None:
    class Rounds(Listener):
        def __init__(self) -> None:
            self.seen: list[int] = []

        def round(self, done: int) -> None:
            self.seen.append(done)

    rounds, records = Rounds(), list[int]()
    fedsam.simulate(
        Run.from_keys({**QUICK, "evaluate_every": 1}),
        callbacks=[rounds, lambda record: records.append(record["round"])],
    )
    assert rounds.seen == records == [1, 2]
    assert capsys.readouterr().err == ""  # nobody looks on


def test_progress_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    fedsam.simulate(Run.from_keys(QUICK), quiet=False)
    assert "engine" in capsys.readouterr().err


@pytest.fixture
def interruptible() -> Iterator[Any]:
    """Python's own handler, also where the tests run in the background and SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_after_the_round_and_the_handler_is_put_back(inside: Path, interruptible: Any) -> None:
    before = interruptible

    class Impatient(Listener):
        def round(self, done: int) -> None:
            if done == 2:
                os.kill(os.getpid(), signal.SIGINT)

    run = Run.from_keys({**QUICK, "rounds": 50, "out": "r"})
    with pytest.raises(Interrupted, match="stopped after round 2 of 50; continue with"):
        fedsam.simulate(run, callbacks=[Impatient()])
    assert signal.getsignal(signal.SIGINT) is before
    done = list[int]()
    ended = fedsam.resume("r", callbacks=[lambda record: done.append(record["round"])])
    assert done[0] > 2
    assert ended.digest == fedsam.simulate(Run.from_keys({**QUICK, "rounds": 50})).digest


def test_a_program_that_waits_for_ctrl_c_itself_is_left_alone() -> None:
    def own(number: int, frame: Any) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, own)
    try:
        seen = []
        run = Run.from_keys(QUICK)
        fedsam.simulate(run, callbacks=[lambda record: seen.append(signal.getsignal(signal.SIGINT))])
        assert seen == [own]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_job_runs_in_a_thread() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(fedsam.simulate(Run.from_keys(QUICK))))
    thread.start()
    thread.join()
    assert len(found) == 1


def test_what_is_no_run_is_told_in_a_line() -> None:
    keys: Any = {"rounds": 2}
    for job in (fedsam.simulate, fedsam.partition, fedsam.tune, lambda run: fedsam.compare({"A": run})):
        with pytest.raises(InputError, match=r"^run: a dict is no run; make one: Run\.from_keys\({\.\.\.}\)$"):
            job(keys)
    wrong: Any = "sam"
    with pytest.raises(InputError, match="a str is no run; make one: Run"):
        fedsam.simulate(wrong)
