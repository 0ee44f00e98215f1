"""Image files that a table names, with class, mask, client and split of each."""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.group_names import numbered
from fedsam.data.images.listed import Listed
from fedsam.data.images.listing import Files, Listing, listed
from fedsam.data.table_file import TableFile, table_file
from fedsam.errors import InputError
from fedsam.storage.paths import expanded


class ImageTable(Listed):
    """A CSV or Parquet file with a row for each example:

        <root>/examples.csv                  file,label,client,split
        <root>/photos/cat/1.jpg              photos/cat/1.jpg,cat,ann,train
        <root>/photos/dog/7.jpg              photos/dog/7.jpg,dog,bob,test

    or, for segmentation, `file,mask,client,split` with masks as images of one channel whose bytes are classes, 255
    where there is none (`data.mask_column=mask data.classes=19`).

    Labels are classes: whole numbers from 0, or names, which are numbered in the order of the alphabet; with
    `task.name=regression` they are numbers. Files are named from `root` on. Without a column of clients a partition
    divides the examples.
    """

    table: str = key("examples.csv", "the CSV or Parquet file; from `root` on", "convention", path=True)
    file_column: str = key("file", "column of the image files", "convention")
    label_column: str = key("label", "column of the classes", "convention")
    mask_column: str = key("", "column of the mask files, in place of classes", "off")
    client_column: str = key("client", "column of the users or domains; empty = there is none", "convention")
    split_column: str = key("split", "column that says train or test", "convention")
    classes: int | None = key(None, "number of classes; of masks it must be given", "by the labels", ge=1, le=2**20)

    @property
    def task(self) -> str:  # type: ignore[override]
        """What it is for, unless `task.name` says otherwise."""
        return "segmentation" if self.mask_column else "classification"

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """Groups where there is a column of them."""
        return frozenset({"images", *(["groups"] if self.client_column else [])})

    def listing(self) -> Listing:
        """The rows of the table."""
        table = table_file(self.folder() / expanded(self.table, "table"), "table", self.table)
        tests, files = table.tests(self.split_column), table.texts(self.file_column)
        masks = table.texts(self.mask_column) if self.mask_column else None
        owners = table.texts(self.client_column) if self.client_column else None
        names, (groups,) = numbered(owners)
        targets, classes, words = self._targets(table)
        found = Files(self.folder(), tuple(files), tuple(masks) if masks else None, table.row_names)
        train, test = listed(found, tests, targets, groups)
        return Listing(found, train, test, classes, words, names)

    def _targets(self, table: TableFile) -> tuple[np.ndarray, int | None, tuple[str, ...]]:
        if self.mask_column:
            if self.classes is None:
                raise InputError("classes", None, "must be given where there are masks: how many classes they show")
            return np.zeros(table.rows, dtype=np.int64), self.classes, ()
        if self.learnt.name == "regression":
            return table.numbers(self.label_column).astype(np.float32), None, ()
        labels, words = table.classes(self.label_column)
        classes = self.classes or int(labels.max()) + 1
        if (beyond := np.flatnonzero(labels >= classes)).size:
            at = int(beyond[0])
            told = f"has the class {words[labels[at]] if words else labels[at]} in row {table.row(at)}"
            table.refuse(f"{told}, and data.classes = {classes}")
        return labels, classes, words
