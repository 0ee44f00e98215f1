"""Which check of arrays fits a data set."""

from __future__ import annotations

from typing import Any

from fedsam.data.images.intake import ImageIntake
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intake import Intake
from fedsam.data.spec import Spec
from fedsam.errors import InputError


def intake_of(name: str, spec: Any) -> Intake:
    """The check that fits a spec, as handed in.

    Raises:
        InputError: under "name": it is none.
    """
    if not isinstance(spec, Spec):
        told = (
            f"its spec is {type(spec).__name__}, must be ImageSpec(classes, shape, mean, std), or Spec without images"
        )
        raise InputError("name", name, told)
    return ImageIntake(name, spec) if isinstance(spec, ImageSpec) else Intake(name, spec)
