"""Numbers in a table: columns as inputs, and one as target."""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.parquet_files import shards
from fedsam.data.parquet import Files
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.data.table_file import TableFile, table_files
from fedsam.errors import InputError
from fedsam.rng import stream


class Table(Partitioned):
    """A CSV or Parquet file, or several Parquet shards (a folder or a pattern), with a row for each example:

        age,dose,weight,hospital,split,target
        61,0.5,70.2,north,train,1
        34,,,south,test,0

    Every column that is not named by a key is an input, and must hold numbers; they are standardised, (x − mean) /
    deviation of the training examples, unless `data.standardise` is false. Targets are classes, whole numbers from 0
    or names; with `task.name=regression` numbers. Without a column that says the split, a quarter of the rows is the
    test set; which does not depend on the run's seed.
    """

    file: Files = key("", "CSV or Parquet file, folder or pattern; required", "no default", path=True)
    target: str = key("target", "column of what is to be predicted", "convention")
    inputs: str = key("", "columns that are inputs, separated by commas; empty = all that no other key names", "all")
    client_column: str = key("", "column of the users or domains; empty = there is none", "off")
    split_column: str = key("", "column that says train or test; empty = a quarter of the rows is for test", "off")
    standardise: bool = key(
        True, "bring every input to mean 0 and deviation 1 over the training examples", "convention"
    )

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """Groups where there is a column of them."""
        return frozenset({"groups"} if self.client_column else set())

    def read(self) -> tuple[Spec, Split, Split]:
        """The table.

        Raises:
            InputError: it is missing, lacks a column, or a cell is no number.
        """
        if not self.file:
            raise InputError("file", InputError.ABSENT, "must name a CSV or Parquet file")
        table = table_files(shards(self.file, "file", "train"), "file", self.file)
        columns = self._inputs(table)
        values_ND = np.stack([table.numbers(column) for column in columns], axis=1)
        targets, classes, words = self._targets(table)
        names, (groups,) = numbered(table.texts(self.client_column) if self.client_column else None)
        tests = table.tests(self.split_column) if self.split_column else quarter(table.rows)
        if self.standardise:
            values_ND = standardised(values_ND, ~tests)
        whole = Split(values_ND.astype(np.float32), targets, groups)
        spec = Spec(classes, (len(columns),), names=words, groups=names)
        return spec, whole.at(np.flatnonzero(~tests)), whole.at(np.flatnonzero(tests))

    def _inputs(self, table: TableFile) -> list[str]:
        asked = [name.strip() for name in self.inputs.split(",") if name.strip()]
        taken = {self.target, self.client_column, self.split_column}
        found = asked or [name for name in table.columns if name not in taken]
        if not found:
            table.refuse("has no column that is an input")
        return found

    def _targets(self, table: TableFile) -> tuple[np.ndarray, int | None, tuple[str, ...]]:
        if self.learnt.name == "regression":
            return table.numbers(self.target).astype(np.float32), None, ()
        labels, words = table.classes(self.target)
        return labels, len(words) or int(labels.max()) + 1, words


def quarter(rows: int) -> np.ndarray:
    """A quarter of so many examples, at least one, bool [N]; always the same."""
    found = np.zeros(rows, dtype=bool)
    found[stream(0, "table").permutation(rows)[: max(1, round(rows / 4))]] = True
    return found


def standardised(values_ND: np.ndarray, train_N: np.ndarray) -> np.ndarray:
    """(x − mean) / deviation of each column, both over the training examples; a column that is constant there is only
    shifted.
    """
    mean_D, std_D = values_ND[train_N].mean(axis=0), values_ND[train_N].std(axis=0)
    found: np.ndarray = (values_ND - mean_D) / np.where(std_D > 0, std_D, 1.0)
    return found
