"""How metrics are told and compared, and the threshold of clients."""

from __future__ import annotations

import pytest

from fedsam import Run
from fedsam.errors import InputError
from fedsam.measure.accuracy import Accuracy
from fedsam.measure.score import ACCURACY, LOSS, Score

RMSE = Score("rmse", "lower")


def test_which_of_two_is_better_and_what_is_worst() -> None:
    assert RMSE.is_better(0.1, 0.2)
    assert not RMSE.is_better(0.2, 0.2)
    assert ACCURACY.is_better(0.2, 0.1)
    assert (RMSE.best([0.3, 0.1, 0.2]), ACCURACY.best([0.3, 0.1, 0.2])) == (0.1, 0.3)
    assert (RMSE.worst, Score("gain").worst) == (float("inf"), float("-inf"))
    assert (ACCURACY.worst, Score("calibration_error", "lower", "share").worst) == (0.0, 1.0)


def test_a_value_is_told_in_its_unit() -> None:
    far = Score("mean_error", "lower", "km")
    assert (RMSE.text(0.123456), far.text(12345.6), far.text(None)) == ("0.1235", "12,346 km", "not measured")
    assert (RMSE.label("test"), far.label("test")) == ("test rmse", "test mean error (km)")
    assert (RMSE.cell(0.5), far.cell(2.0, 0.0123), RMSE.cell(None)) == ("0.5", "2 ± 0.012", "–")
    assert (RMSE.change(-0.5), far.change(0.5, 0.25), ACCURACY.change(-1e-6)) == ("-0.5", "+0.5 ± 0.25", "-0.00")
    assert (LOSS.label("test"), ACCURACY.label("test")) == ("test loss (nats)", "test accuracy (%)")


def test_clients_are_poorly_served_above_the_threshold() -> None:
    probe = Accuracy(threshold=0.5)
    values = [0.1, 0.5, 0.6, None, 0.9, *[0.2] * 8]
    found = probe.summary(values, RMSE)
    assert (found["below"], found["worst_decile"]) == (2, pytest.approx(0.75))
    assert found["rmse"] == values
    assert (probe.summary(values)["below"], probe.summary(values)["worst_decile"]) == (9, pytest.approx(0.15))
    with pytest.raises(InputError, match=r"threshold = 1\.5: must be from 0 to 1, as accuracy is"):
        Run.from_keys({"local.threshold": 1.5})
    Accuracy(threshold=1.5).check(RMSE)
