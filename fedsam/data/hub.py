"""`data.name=hf:FOLDER`: data sets of Hugging Face that lie on this machine. Nothing is fetched."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import create_model

from fedsam.config import find, key
from fedsam.data.base import Dataset
from fedsam.data.saved import Saved


class _InName(Saved):
    """A data set whose folder is its name."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Where it travels to another process, its class would be looked up by its name.
        return _restored, (self.name, {field: getattr(self, field) for field in self.model_fields_set})


def _restored(name: str, values: dict[str, Any]) -> Dataset:
    made: Dataset = find(Dataset, name)(**values)
    return made


@lru_cache(maxsize=64)
def offered(path: str) -> type[Saved]:
    """The data set of this folder: one that `save_to_disk` wrote, or Parquet files of each split."""
    folder: Any = key(path, "what save_to_disk wrote, or Parquet files", "the name", path=True)
    cls: Any = create_model(path, __base__=_InName, __module__="hf", __doc__=Saved.__doc__, folder=(str, folder))
    return cls  # type: ignore[no-any-return]
