"""Images, and files and folders of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.rng import stream


def picture(seed: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> np.ndarray:
    shape = (*size, 3) if mode == "RGB" else size
    return stream(seed, "picture").integers(256, size=shape, dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, images: list[Any], labels: list[Any], image: str = "img", plain: bool = False) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [encoded(i) if isinstance(i, np.ndarray) else i for i in images]
    column = files if plain else [{"bytes": file, "path": None} for file in files]
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({image: pa.array(column, kind), "label": labels}), path, row_group_size=2)
    return str(path)


def folders(root: Path, **pictures: np.ndarray | bytes) -> Path:
    """`train_cat_1=...` becomes train/cat/1.png."""
    for name, image in pictures.items():
        path = root.joinpath(*name.split("_")).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image if isinstance(image, bytes) else encoded(image))
    return root


def write_image(path: Path, number: int, size: tuple[int, int] = (4, 5), colour: bool = True) -> np.ndarray:
    """A PNG of height and width whose pixels are drawn from its number; the pixels, uint8 [H, W, C]."""
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3 if colour else 1), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    from PIL import Image

    Image.fromarray(pixels if colour else pixels[..., 0]).save(path)
    return pixels


def write_mask(path: Path, number: int, size: tuple[int, int] = (4, 5), classes: int = 3) -> np.ndarray:
    """A PNG of classes, of which about a fifth of the pixels has none (255); the pixels, uint8 [H, W]."""
    rng = np.random.default_rng(1000 + number)
    pixels = rng.integers(0, classes, size, dtype=np.uint8)
    pixels[rng.random(size) < 0.2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    from PIL import Image

    Image.fromarray(pixels).save(path)
    return pixels
