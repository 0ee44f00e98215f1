"""The CIFAR-10 splits of Caldarola et al. 2022 as index lists: `python -m fedsam.experiments.caldarola2022.splits FOLDER`.

FOLDER is a copy of the authors' repository, https://github.com/debcaldarola/fedsam. Each of its files
`data/cifar10/data/train/federated_train_alpha_*.json` holds for each client the names of its images, as
`{"user_data": {"0": {"x": ["img_29513_label_6.png", ...], ...}, ...}}`, where 29513 is the position in CIFAR-10.
What is written is an array `alpha_*` for each, [clients, examples] of positions, for `data.partition=file`.

CIFAR-100's lists name images as the original archive does, which gives no position; they are not read.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from pathlib import Path

import numpy as np

from fedsam.data.stored import data_folder
from fedsam.errors import InputError
from fedsam.experiments.caldarola2022.settings import SPLITS
from fedsam.storage.files import on_disk, replace_file

PLACE = f"cifar10/splits/{SPLITS}"
"""Where it is looked for, from `data.root`."""
EXAMPLES = 50_000
LISTS = "federated_train_alpha_*.json"
IMAGE = re.compile(r"img_(\d+)_label_\d+\.png")


def positions(file: Path, examples: int = EXAMPLES) -> np.ndarray:
    """The positions of each client's images, int32 [clients, n], in the order of the clients' numbers and of the file.

    Their train files lack one image (position 10100), and so one client has one less than the others: what no client
    has is given to those that lack one, in ascending order.

    Args:
        file: one of the authors' lists.
        examples: of the data set.

    Raises:
        InputError: the file is not of this form, or its clients cannot be made equal in this way.
    """
    try:
        clients = json.loads(file.read_text(encoding="utf-8"))["user_data"]
        found = [[_position(name) for name in clients[str(k)]["x"]] for k in range(len(clients))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("", InputError.ABSENT, f"{file} is none of the authors' lists: {error!r}") from None
    size = max(map(len, found), default=0)
    given = [position for part in found for position in part]
    if len(set(given)) < len(given) or max(given, default=0) >= examples:
        raise InputError("", InputError.ABSENT, f"{file} names an image twice or one that there is not")
    left = sorted(set(range(examples)) - set(given))
    for part in found:
        if len(part) == size - 1 and left:
            part.append(left.pop(0))
    if not size or any(len(part) != size for part in found):
        raise InputError("", InputError.ABSENT, f"{file}: its clients have not the same number of images")
    return np.array(found, dtype=np.int32)


def _position(name: str) -> int:
    form = IMAGE.fullmatch(name)
    if form is None:
        raise ValueError(f"{name} is no img_POSITION_label_CLASS.png")
    return int(form[1])


def convert(folder: Path, out: Path, examples: int = EXAMPLES) -> list[str]:
    """Write the arrays of all lists below a folder, and return their names.

    Raises:
        InputError: there are none, or one is not as expected.
    """
    there = sorted((folder / "data/cifar10/data/train").glob(LISTS)) or sorted(folder.glob(LISTS))
    if not there:
        said = f"there is no data/cifar10/data/train/{LISTS} in it; give a copy of github.com/debcaldarola/fedsam"
        raise InputError("FOLDER", str(folder), said)
    arrays = {file.stem.removeprefix("federated_train_"): positions(file, examples) for file in there}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    with on_disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, content.getvalue())
    return list(arrays)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m fedsam.experiments.caldarola2022.splits", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="copy of the authors' repository")
    parser.add_argument("out", type=Path, metavar="OUT.npz", nargs="?", help=f"default: {PLACE} in $FEDSAM_DATA")
    given = parser.parse_args(arguments)
    out = given.out or data_folder() / PLACE
    try:
        names = convert(given.folder, out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{out}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
