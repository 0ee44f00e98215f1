"""What feature skew is: a change of all images of a client, the same for its training and its local test images.

Shapes: N images, H height, W width, C channels, K clients asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fedsam.config import Component
from fedsam.data.partition.base import Assignment
from fedsam.errors import InputError
from fedsam.rng import stream

Traits = dict[str, float | list[float]]
"""What sets a client's images apart, as plain JSON types by name."""


class Skew(Component):
    """A feature skew. The default does nothing; a subclass overrides `traits` and `changed`.

    The global test set stays as it is: it is the clients that differ from the world, and from each other.
    """

    kind: ClassVar[str] = "feature skew"
    package: ClassVar[str] = "fedsam.data.skew"

    def traits(self, seed: int, client: int, channels: int) -> Traits:
        """What sets this client's images apart, keyed by seed and client alone; empty if nothing does."""
        return {}

    def changed(self, images_NHWC: np.ndarray, traits: Traits, scale: float, rng: np.random.Generator) -> np.ndarray:
        """A client's images as it sees them.

        Args:
            images_NHWC: all images of the client, training and held out, in the order of the data set, uint8.
            traits: of the client.
            scale: the byte that stands for white.
            rng: the client's stream for what differs from image to image.

        Returns:
            uint8 [N, H, W, C], from 0 to `scale`.
        """
        return images_NHWC

    def table(self, seed: int, ids: Sequence[int], channels: int) -> dict[str, Any]:
        """The traits of these clients, a list [K] for each; empty if clients do not differ."""
        each = [self.traits(seed, client, channels) for client in ids]
        return {name: [traits[name] for traits in each] for name in (each[0] if each else {})}

    def client_images(self, images_NHWC: np.ndarray, seed: int, client: int, scale: float) -> np.ndarray:
        """One client's images as it sees them; the same array if nothing changes."""
        traits = self.traits(seed, client, images_NHWC.shape[3])
        if not traits or not len(images_NHWC):
            return images_NHWC
        return self.changed(images_NHWC, traits, scale, stream(seed, "skew images", client=client))

    def store(self, images_NHWC: np.ndarray, own: Assignment, seed: int, scale: float) -> np.ndarray:
        """All images, each as the client that has it sees it; the same array if nothing changes.

        A copy: while it is made, memory holds the images twice, unless the original is mapped from a file.

        Raises:
            InputError: two clients share an image, which cannot be changed for both.
        """
        if not self.traits(seed, 0, images_NHWC.shape[3]):
            return images_NHWC
        if len(np.unique(own.index)) < len(own.index):
            raise InputError("skew", self.name, "two clients share an image, which cannot be changed for both")
        found = np.array(images_NHWC)
        for client in range(own.clients):
            index = own.of_client(client)
            found[index] = self.client_images(images_NHWC[index], seed, client, scale)
        return found
