"""Data sets of image files that are named one by one: what they share."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import ClassVar, NoReturn

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.images.listing import Listing, Reader
from fedsam.data.images.sizes import Size, side_lengths
from fedsam.data.spec import Spec
from fedsam.data.stored import Stored
from fedsam.errors import InputError


class Listed(Stored):
    """Image files with a class or a mask for each."""

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups"})

    size: Size = key("", "resize every image to N x N, or to HEIGHTxWIDTH; empty = they must agree", "off")
    decoders: int = key(0, "threads that decode images; 0 = one for each core, at most 8", "convention", ge=0, le=256)

    @abstractmethod
    def listing(self) -> Listing:
        """What there is.

        Raises:
            InputError, ValueError: it is not in this layout; of a `ValueError` the message names the file.
        """

    def read(self) -> tuple[Spec, Split, Split]:
        """Every image.

        Raises:
            InputError: files are missing or cannot be used.
        """
        try:
            listing = self.listing()
            reader = Reader(listing, side_lengths(self.size))
            spec = reader.spec(listing, self.threads())
            return spec, reader.split(listing.train, self.threads()), reader.split(listing.test, self.threads())
        except OSError as error:
            self.refuse(f"cannot be read: {error.strerror or error}")
        except InputError:
            raise
        except ValueError as error:
            self.refuse(str(error))

    def threads(self) -> int:
        """That decode."""
        return self.decoders or min(8, os.cpu_count() or 1)

    def refuse(self, told: str) -> NoReturn:
        """Raises:
        InputError: under "root".
        """
        hint = "; data.size=N resizes all of them to N x N" if "others are" in told else ""
        raise InputError("root", str(self.folder()), f"{told}{hint}")
