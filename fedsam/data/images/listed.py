"""Data sets of image files that are named one by one: what they share."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.base import Federation, Split
from fedsam.data.images.fetched import Fetched
from fedsam.data.images.kept import Kept
from fedsam.data.images.listing import Listing, Reader
from fedsam.data.images.sizes import Size, side_lengths
from fedsam.data.spec import Spec
from fedsam.data.stored import Stored
from fedsam.errors import InputError
from fedsam.storage.paths import expanded

GIB = 2.0**30


class Listed(Stored):
    """Image files with a class or a mask for each.

    Up to `data.memory` all images are decoded at the beginning and stay in memory. Of more, those of a client are
    decoded when it is sampled, by threads and ahead of its round, and kept on disk up to `data.disk`; what a run gives
    is the same to the bit.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups"})

    size: Size = key("", "resize every image to N x N, or to HEIGHTxWIDTH; empty = they must agree", "off")
    memory: float = key(
        1.0, "GiB of decoded images that are held in memory, and that the clients of a round may need", "convention",
        ge=0.0, le=1e6,
    )  # fmt: skip
    disk: float = key(
        16.0, "GiB of decoded images that are kept on disk where memory does not hold them; 0 = none", "convention",
        ge=0.0, le=1e6,
    )  # fmt: skip
    disk_folder: str | None = key(None, "where they are kept; none = ~/.cache/fedsam/images", "convention", path=True)
    decoders: int = key(0, "threads that decode images; 0 = one for each core, at most 8", "convention", ge=0, le=256)

    @abstractmethod
    def listing(self) -> Listing | None:
        """What there is; None if the examples are no files.

        Raises:
            InputError, ValueError: it is not in this layout; of a `ValueError` the message names the file.
        """

    def read(self) -> tuple[Spec, Split, Split]:
        """Every image.

        Raises:
            InputError: files are missing or cannot be used.
        """
        with self._refusing():
            listing, reader = self._opened()
            spec = reader.spec(listing, self._threads)
            return spec, reader.split(listing.train, self._threads), reader.split(listing.test, self._threads)

    def load(self, seed: int) -> Federation:
        """As of every data set; images are decoded now or when they are asked for.

        Raises:
            InputError: as always; or examples are to be divided by masks that are not read.
        """
        with self._refusing():
            listing = self.listing()
            if listing is None:
                return super().load(seed)
            reader = Reader(listing, side_lengths(self.size))
            if reader.bytes_each * len(listing.files.images) <= self.memory * GIB:
                return super().load(seed)
            return self._fetched(reader, listing, seed)

    def _opened(self) -> tuple[Listing, Reader]:
        listing = self.listing()
        assert listing is not None
        return listing, Reader(listing, side_lengths(self.size))

    def _fetched(self, reader: Reader, listing: Listing, seed: int) -> Fetched:
        partition = self.dividing()
        if reader.masked and "classes" in partition.requires:
            told = (
                "goes by the classes in all masks, which are not read at the beginning where data.memory is too small"
            )
            raise InputError("partition", partition.name, f"{told}; use natural, grouped or iid, or more memory")
        spec, strata = reader.spec(listing, self._threads), none if reader.masked else self.learnt.strata
        division = self.divided(partition, spec, listing.train, listing.test, strata, seed)
        folder = expanded(self.disk_folder or "~/.cache/fedsam/images", "disk_folder")
        kept, sealed = Kept(folder, self.disk * GIB), self.validation > 0
        return Fetched(reader, spec, division, self.skew, seed, kept, self._threads, self.memory * GIB, sealed)

    @property
    def _threads(self) -> int:
        return self.decoders or min(8, os.cpu_count() or 1)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Errors of files, in one line."""
        try:
            yield
        except InputError:
            raise
        except OSError as error:
            self.refuse(f"cannot be read: {error.strerror or error}")
        except ValueError as error:
            self.refuse(str(error))

    def refuse(self, told: str) -> NoReturn:
        """Raises:
        InputError: under "root".
        """
        hint = "; data.size=N resizes all of them to N x N" if "others are" in told else ""
        raise InputError("root", str(self.folder()), f"{told}{hint}")


def none(targets: np.ndarray) -> None:
    """No class by which examples are told apart."""
