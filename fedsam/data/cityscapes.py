"""Cityscapes: streets of German cities with masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.images.driving import Driving, table_of
from fedsam.data.images.sizes import Size

CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""By their bytes in files *_labelIds.png; every other byte is without class, as in the benchmark."""
IMAGE, IDS, TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"


class Cityscapes(Driving):
    """2,975 training images of 18 cities, and 500 of three others as test set; 19 classes:

        <root>/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
        <root>/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png       or _labelTrainIds.png
        <root>/leftImg8bit/val/frankfurt/...
        <root>/gtFine/val/frankfurt/...

    A client is a city (`data.partition=natural`), or a user of FedDrive's (`data.users`).

    Source: Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016.
    """

    size: Size = key("512x1024", "resize every image to N x N, or to HEIGHTxWIDTH", "FedDrive")

    def found_files(self) -> list[tuple[str, str, str, bool]]:
        """Those of train/ and val/, city by city."""
        rows = []
        for part in ("train", "val"):
            top = self.folder() / "leftImg8bit" / part
            if not top.is_dir():
                raise ValueError(f"there is no folder leftImg8bit/{part}/ in it")
            for city in sorted(path for path in top.iterdir() if path.is_dir() and path.name[0] != "."):
                images = sorted(path.name for path in city.iterdir() if path.name.endswith(IMAGE))
                if not images:
                    raise ValueError(f"there is no image *{IMAGE} in leftImg8bit/{part}/{city.name}/")
                for name in images:
                    mask = self._mask(Path("gtFine") / part / city.name, name.removesuffix(IMAGE))
                    rows.append((f"leftImg8bit/{part}/{city.name}/{name}", mask, city.name, part == "val"))
        return rows

    def places(self) -> tuple[Path, Path]:
        """Of images and masks."""
        return Path("leftImg8bit"), Path("gtFine")

    def relabels(self, masks: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """By what the first file is called: all must be of the same kind."""
        places = range(len(CLASSES))
        trained = masks[0].endswith(TRAIN_IDS)
        if other := next((mask for mask in masks if mask.endswith(TRAIN_IDS) != trained), None):
            raise ValueError(f"{other} is of another kind than {masks[0]}; give all or none as labelTrainIds")
        table = table_of(dict(zip(places if trained else CLASSES, places, strict=True)))
        return table, tuple(CLASSES.values())

    def _mask(self, folder: Path, stem: str) -> str:
        trained = folder / f"{stem}{TRAIN_IDS}"
        return str(trained if (self.folder() / trained).is_file() else folder / f"{stem}{IDS}")
