"""The one check of a data set's arrays: brought into the form of `Split` where their meaning is certain, and refused in
one line where not.

Shapes: N examples.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from fedsam.data.base import Split
from fedsam.data.masks import MaskError, stored
from fedsam.data.plain_array import Unfit, as_array, as_numbers
from fedsam.data.spec import Spec
from fedsam.data.tokens import UNCOUNTED
from fedsam.errors import InputError


class Intake:
    """Inputs and targets of any kind: finite numbers of the spec's shapes, as many of the one as of the other.

    Args:
        name: of the data set.
        spec: as handed in.

    Raises:
        InputError: under "name": the spec cannot be.
    """

    def __init__(self, name: str, spec: Spec) -> None:
        self.name = name
        self.spec = self._checked(spec)

    def split(self, given: Any, which: str, empty: bool = False, part: bool = False) -> Split:
        """A split in the right form; the same object if it has it.

        Args:
            given: as handed in.
            which: training, test, ..., for messages.
            empty: whether it may be.
            part: whether it is only what some clients have, so that it need not show what there is in all.

        Raises:
            InputError: under "name": it cannot be used.
        """
        inputs, targets = self._parts(given, which)
        if len(inputs) != len(targets):
            self._refuse(which, f"has {len(inputs)} inputs and {len(targets)} targets; each input needs its own")
        if not len(inputs) and not empty:
            self._refuse(which, "is empty; it needs at least one example")
        groups = self._groups(given, which, len(inputs))
        return self._same(given, Split(self._inputs(inputs, which, part), self._targets(targets, which), groups))

    def _same(self, given: Any, found: Split) -> Split:
        """What was handed in, where it was in the right form."""
        same = isinstance(given, Split) and found.inputs is given.inputs and found.targets is given.targets
        return given if same and found.groups is given.groups else found

    def _groups(self, given: Any, which: str, examples: int) -> np.ndarray | None:
        """Positions in `Spec.groups`, or None where there are none."""
        groups = getattr(given, "groups", None)
        if groups is None:
            return None
        found = self._whole(self._array(groups, which, "groups"), which, "groups")
        if found.shape != (examples,):
            self._refuse(which, f"has groups of shape {list(found.shape)}, must be [{examples}], one for each example")
        if found.size and not 0 <= found.min() <= found.max() < len(self.spec.groups):
            wrong = found.min() if found.min() < 0 else found.max()
            self._refuse(which, f"has the group {wrong}; there are {len(self.spec.groups)} (Spec.groups), from 0 on")
        return np.ascontiguousarray(found)

    def _parts(self, given: Any, which: str) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(given, tuple | list) and len(given) == 2:
            inputs, targets = given
        elif hasattr(given, "inputs") and hasattr(given, "targets"):
            inputs, targets = given.inputs, given.targets
        else:
            self._refuse(which, f"is {type(given).__name__}, must be Split(inputs, targets)")
        return self._array(inputs, which, "inputs"), self._array(targets, which, "targets")

    def _array(self, given: Any, which: str, what: str, channels: int = 0) -> np.ndarray:
        try:
            found = as_array(given, channels)
            if not found.ndim:
                raise Unfit("a single number")
        except Unfit as error:
            self._refuse(which, f"has {what} that are {error}; must be arrays, see fedsam.data.base.Split")
        return found

    def _inputs(self, inputs: np.ndarray, which: str, part: bool) -> np.ndarray:
        """In the spec's type: numbers as floats, tokens and the like as whole numbers."""
        self._check_shape(inputs, self.spec.shape, which, "inputs")
        wanted = np.dtype(self.spec.dtype)
        if wanted.kind == "f":
            return np.ascontiguousarray(self._finite(inputs, which, "inputs").astype(wanted, copy=False))
        found = self._whole(inputs, which, "inputs")
        if self.spec.vocabulary is not None:
            self._check_whole_range(found, self.spec.vocabulary, which, "token", "Spec.vocabulary")
        return np.ascontiguousarray(found.astype(wanted, copy=False))

    def _targets(self, targets: np.ndarray, which: str) -> np.ndarray:
        """Classes from 0 on where the spec has classes, else finite numbers; masks as `fedsam.data.masks` has them."""
        if self.spec.masks:
            return self._masks(targets, which)
        self._check_shape(targets, self.spec.target_shape, which, "targets")
        if self.spec.classes is None:
            return np.ascontiguousarray(self._finite(targets, which, "targets"))
        found = self._whole(targets, which, "targets")
        counted = found[found != UNCOUNTED] if self.spec.sequences else found
        self._check_whole_range(counted, self.spec.classes, which, "class", "Spec.classes")
        return np.ascontiguousarray(found)

    def _check_whole_range(self, found: np.ndarray, number: int, which: str, what: str, field: str) -> None:
        if found.size and not 0 <= found.min() <= found.max() < number:
            wrong = found.min() if found.min() < 0 else found.max()
            self._refuse(which, f"has the {what} {wrong}, must be from 0 to {number - 1} ({field})")

    def _masks(self, masks: np.ndarray, which: str) -> np.ndarray:
        if masks.shape[1:] == (*self.spec.target_shape, 1):
            masks = masks[..., 0]
        self._check_shape(masks, self.spec.target_shape, which, "masks")
        whole = masks if masks.dtype.kind in "iu" else self._whole(masks, which, "masks")
        try:
            return stored(whole, self.spec.classes or 0, self.spec.ignore)
        except MaskError as error:
            self._refuse(which, f"has {error}")

    def _check_shape(self, found: np.ndarray, shape: tuple[int, ...], which: str, what: str) -> None:
        if found.shape[1:] != tuple(shape):
            wanted = ", ".join(["N", *map(str, shape)])
            self._refuse(which, f"has {what} of shape {list(found.shape)}, must be [{wanted}] by the spec")

    def _finite(self, found: np.ndarray, which: str, what: str) -> np.ndarray:
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            self._refuse(which, f"has {what} that are NaN or infinite")
        return found

    def _whole(self, found: np.ndarray, which: str, what: str) -> np.ndarray:
        try:
            return as_numbers(found)
        except Unfit as error:
            self._refuse(which, f"has {what} that are {error}; must be whole numbers")

    def _checked(self, spec: Any) -> Any:
        """The spec, in the right form."""
        sides = (*spec.shape, *spec.target_shape)
        if not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
            raise InputError("name", self.name, f"its spec has the shapes {spec.shape} and {spec.target_shape}")
        if spec.classes is not None and not (isinstance(spec.classes, int | np.integer) and spec.classes > 0):
            raise InputError("name", self.name, f"Spec.classes = {spec.classes!r} must be a whole number, at least 1")
        if spec.ignore is not None and not isinstance(spec.ignore, int | np.integer):
            raise InputError("name", self.name, f"Spec.ignore = {spec.ignore!r} must be a whole number, or None")
        self._check_groups(spec)
        return spec

    def _check_groups(self, spec: Spec) -> None:
        names = list(spec.groups)
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            told = "Spec.groups must be the names of users or domains, texts of which no two are the same"
            raise InputError("name", self.name, told)

    def _refuse(self, which: str, told: str) -> NoReturn:
        raise InputError("name", self.name, f"its {which} set {told}")
