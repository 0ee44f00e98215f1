"""IDDA: drawn streets of several towns, in several weathers, from several cars, with masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from fedsam.config import key
from fedsam.data.images.driving import Driving, table_of
from fedsam.data.images.sizes import Size
from fedsam.rng import stream

NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "motorcycle", "bicycle",
)  # fmt: skip
CLASSES = {
    1: 2, 2: 4, 4: 11, 5: 5, 6: 0, 7: 0, 8: 1, 9: 8, 10: 13, 11: 3, 12: 7, 13: 6, 16: 15, 17: 14, 18: 12, 19: 9, 20: 10,
}  # fmt: skip
"""The class of each byte, FedDrive's 16; every other byte is without class."""
DOMAIN = re.compile(r"(?P<town>T\d+)_(?P<weather>[A-Za-z]+)_(?P<car>[A-Za-z]+)")


class Idda(Driving):
    """Images in a folder for each domain, a town in a weather from a car; 16 classes:

        <root>/T01_CN_A/RGB/242662_T01_CN_A.jpg              town 01, clear noon, Audi
        <root>/T01_CN_A/Semantic/242662_T01_CN_A.png

    A client is a domain (`data.partition=natural`), and `data.group` makes it a town, a weather or a car instead, so
    that `data.unseen` can hold one out. A share of each domain is the test set; which does not depend on the run's
    seed. With `data.users` both are FedDrive's.

    Source: Alberti et al., "IDDA: a large-scale multi-domain dataset for autonomous driving", RA-L 2020.
    """

    size: Size = key("512x928", "resize every image to N x N, or to HEIGHTxWIDTH", "FedDrive")
    group: Literal["domain", "town", "weather", "car"] = key("domain", "what a group is", "FedDrive: domain")
    test_share: float = key(0.2, "share of each domain that is for test", "convention", gt=0.0, lt=1.0)

    def found_files(self) -> list[tuple[str, str, str, bool]]:
        """Domain by domain."""
        rows = []
        domains = sorted(path for path in self.folder().iterdir() if path.is_dir() and DOMAIN.fullmatch(path.name))
        if not domains:
            raise ValueError("there is no folder TOWN_WEATHER_CAR, such as T01_CN_A, in it")
        for number, domain in enumerate(domains):
            form = DOMAIN.fullmatch(domain.name)
            group = domain.name if form is None or self.group == "domain" else form[self.group]
            colour = domain / "RGB"
            images = sorted(colour.glob("*.jpg")) + sorted(colour.glob("*.png")) if colour.is_dir() else []
            if not images:
                raise ValueError(f"there is no image in {domain.name}/RGB/")
            order = stream(0, "idda", client=number).permutation(len(images))
            tests = set(order[: round(self.test_share * len(images))].tolist())
            for at, path in enumerate(images):
                mask = f"{domain.name}/Semantic/{path.stem}.png"
                rows.append((f"{domain.name}/RGB/{path.name}", mask, group, at in tests))
        return rows

    def places(self) -> tuple[Path, Path]:
        """Both are named from `root` on."""
        return Path(), Path()

    def relabels(self, masks: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """FedDrive's classes."""
        return table_of(CLASSES), NAMES
