"""Any labelled images in Parquet files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.parquet_files import note, read_parquet, shards
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.vision import alike, check_fit, spec_of
from fedsam.data.stored import Partitioned
from fedsam.data.table_file import table_files
from fedsam.errors import InputError


def _joined(given: Any) -> Any:
    """A list of a TOML file as it is written on a command line."""
    texts = isinstance(given, list | tuple) and all(isinstance(one, str) for one in given)
    return ",".join(given) if texts else given


Files = Annotated[str, BeforeValidator(_joined)]


class Parquet(Partitioned):
    """Training and test files in the Hugging Face layout, with images of one size, grey or RGB.

    One column, struct(bytes, path) or plain bytes, holds the image files (PNG, JPEG, ...), another the labels. Either
    part may be in several shards: a folder, a pattern (`data/train-*.parquet`), or files between commas.
    """

    train_file: Files = key("", "Parquet file, folder or pattern of training images; required", "no default", path=True)
    test_file: Files = key("", "Parquet file, folder or pattern of test images; required", "no default", path=True)
    image_column: str = key("img", "column of the image files", "cifar10 on the Hugging Face hub")
    label_column: str = key("label", "column of the labels, whole numbers from 0", "cifar10 on the Hugging Face hub")
    client_column: str = key("", "column of the users or domains; empty = there is none", "off")

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """Groups where there is a column of them."""
        return frozenset({"images", *(["groups"] if self.client_column else [])})

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """Both parts; mean and standard deviation are those of the training images.

        Raises:
            InputError: a file is not named, missing or unusable, or the two do not fit each other.
        """
        places = self._places("train_file"), self._places("test_file")
        if both := set(places[0]) & set(places[1]):
            note(f"{min(both)} is trained and tested on")
        train, test = self._part("train_file", places[0]), self._part("test_file", places[1])
        train, test = alike(train, test)
        try:
            spec = spec_of(train)
        except ValueError as error:
            raise InputError("train_file", self.train_file, str(error)) from None
        check_fit(test, spec, "test_file", self.test_file)
        if not self.client_column:
            return spec, train, test
        owners = (self._owners(field, own) for field, own in zip(("train_file", "test_file"), places, strict=True))
        names, (train_groups, test_groups) = numbered(*owners)
        return replace(spec, groups=names), replace(train, groups=train_groups), replace(test, groups=test_groups)

    def _owners(self, field: str, places: tuple[Path, ...]) -> list[str]:
        """The user or domain of each example."""
        return table_files(places, field, getattr(self, field), (self.client_column,)).texts(self.client_column)

    def _places(self, field: str) -> tuple[Path, ...]:
        given = getattr(self, field)
        if not given:
            raise InputError(field, InputError.ABSENT, "must name a Parquet file; data.name=parquet needs two")
        return shards(given, field, field.removesuffix("_file"))

    def _part(self, field: str, places: tuple[Path, ...]) -> Split:
        return read_parquet(places, (self.image_column,), self.label_column, field, getattr(self, field))
