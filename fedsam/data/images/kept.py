"""Decoded images on disk, in files of their own, up to a limit: those used last stay.

What is there decides how long something takes, and nothing else: what is cut short, damaged or another's is made anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

log = logging.getLogger("fedsam")

SUM = 4  # bytes of the checksum at the end of a file
LEFT = 0.9  # of the limit, once something had to go


class Kept:
    """A folder of arrays.

    Args:
        folder: where they are; made when something is kept.
        limit: bytes of all of them; 0 = nothing is kept.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder, self.limit = folder, limit
        self._size: int | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "limit": self.limit}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def read(self, name: str, arrays: Sequence[np.ndarray]) -> bool:
        """Fill arrays, contiguous in memory, with what is kept under a name; whether it was there and whole. Where not,
        they hold anything.
        """
        if not self.limit:
            return False
        path = self._path(name)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size != sum(array.nbytes for array in arrays) + SUM:
                    return False
                found = 0
                for array in arrays:
                    file.readinto(array.data.cast("B"))
                    found = zlib.crc32(array.data.cast("B"), found)
                whole = file.read(SUM) == found.to_bytes(SUM, "little")
            if whole:
                os.utime(path)
        except OSError:
            return False
        return whole

    def write(self, name: str, arrays: Sequence[np.ndarray]) -> None:
        """Keep arrays under a name. Where that is not possible, nothing is kept."""
        size = sum(array.nbytes for array in arrays) + SUM
        if size > self.limit:
            return
        path = self._path(name)
        aside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with aside.open("wb") as file:
                    found = 0
                    for array in arrays:
                        file.write(array.data.cast("B"))
                        found = zlib.crc32(array.data.cast("B"), found)
                    file.write(found.to_bytes(SUM, "little"))
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            self.limit = 0
            log.info("decoded images are not kept (%s)", error)
            return
        with self._lock:
            self._size = self._measured() if self._size is None else self._size + size
            if self._size > self.limit:
                self._size = self._make_room()

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob("??/*"):
            with suppress(OSError):  # another process made room
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
        return found

    def _measured(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self) -> int:
        """Remove what was not used for longest; the size of what is left."""
        files = sorted(self._files(), key=lambda file: file[:2])
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= LEFT * self.limit:
                break
            with suppress(OSError):
                path.unlink()
            left -= size
        return left


def name_of(*parts: object) -> str:
    """A name for what is made of these parts."""
    import PIL
    from PIL import features

    # JPEG decoders may differ in the last bit
    found = hashlib.sha256(f"{PIL.__version__} {features.version('jpg')}".encode())
    for part in parts:
        found.update(part if isinstance(part, bytes) else repr(part).encode())
        found.update(b"\0")
    return found.hexdigest()
