"""The task that the data set names."""

from __future__ import annotations

from typing import NoReturn

from fedsam.config import resolve
from fedsam.tasks.base import Task


class Auto(Task):
    """What the data set says that it is for."""

    def model_post_init(self, context: object) -> None:
        """The task itself will look at its metrics."""
        self._keep()

    def of(self, own: str | Task) -> Task:
        """The data set's own, with what is set here."""
        task: Task = resolve(Task, own)
        changed = {name: value for name, value in self if value != type(self).model_fields[name].default}
        return task.replace(**changed) if changed else task

    def output_shape(self, spec: object) -> NoReturn:
        """Not before it is known which task it is."""
        raise TypeError("task.name=auto stands for the data set's own task")

    losses = output_shape  # type: ignore[assignment]
