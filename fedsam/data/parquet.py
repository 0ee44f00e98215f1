"""Any labelled images in two Parquet files."""

from __future__ import annotations

from pathlib import Path

from fedsam.config import key
from fedsam.data.base import Facts, Split
from fedsam.data.stored import Partitioned
from fedsam.data.vision import check_fit, facts_of, read_parquet
from fedsam.errors import InputError


class Parquet(Partitioned):
    """A training and a test file in the Hugging Face layout, with images of one size, grey or RGB.

    One column, struct(bytes, path) or plain bytes, holds the image files (PNG, JPEG, ...), another the labels.
    """

    train_file: str = key("", "Parquet file of the training images; required", "no default", path=True)
    test_file: str = key("", "Parquet file of the test images; required", "no default", path=True)
    image_column: str = key("img", "column of the image files", "cifar10 on the Hugging Face hub")
    label_column: str = key("label", "column of the labels, whole numbers from 0", "cifar10 on the Hugging Face hub")

    def read(self) -> tuple[Facts, Split, Split]:
        """Both files; mean and standard deviation are those of the training images.

        Raises:
            InputError: a file is not named, missing or unusable, or the two do not fit each other.
        """
        train, test = self._part("train_file"), self._part("test_file")
        try:
            facts = facts_of(train)
        except ValueError as error:
            raise InputError("train_file", self.train_file, str(error)) from None
        check_fit(test, facts, "test_file", self.test_file)
        return facts, train, test

    def _part(self, field: str) -> Split:
        path = getattr(self, field)
        if not path:
            raise InputError(field, InputError.ABSENT, "must name a Parquet file; data.name=parquet needs two")
        return read_parquet(Path(path).expanduser(), (self.image_column,), self.label_column, field)
