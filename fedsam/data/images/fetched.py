"""A federation of image files that memory does not hold: a client's are decoded when it is sampled.

Shapes: N examples, K clients asked for, L classes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.data.base import Federation, Split
from fedsam.data.digest import digest
from fedsam.data.images.kept import Kept, name_of
from fedsam.data.images.listing import Reader
from fedsam.data.images.spec import ImageSpec
from fedsam.data.skew.base import Skew
from fedsam.data.stored import Division

CHUNK = 32  # images that are decoded by one thread and kept as one file
ROUNDS = 2  # whose examples are there at once: this one and the next


@dataclass
class _Round:
    """The examples of some clients, and the threads' work on them.

    Args:
        store: images, and classes or masks, one client after the other.
        begin: where each client's begin.
        work: that is not known to be done, by client.
    """

    store: Split
    begin: dict[int, int]
    work: dict[int, list[Future[None]]] = field(default_factory=dict)


class Fetched(Federation):
    """What a division says of files, which a reader decodes.

    Threads decode the clients that are expected next (`expect`) while others are trained; what is asked for without
    notice is decoded then. Decoded images are kept on disk (`Kept`). Neither changes a bit of what is given.

    Args:
        reader: of the files.
        spec: of the data set.
        division: positions in the files as inputs, and which of them each client has.
        skew: what sets one client's images apart from another's.
        seed: by which the skew is keyed.
        kept: decoded images on disk.
        threads: that decode.
        room: bytes of a store in memory; a larger one is a file without a name.
        sealed: whether the test sets are out of reach, so that they are not read.

    Raises:
        ValueError: a test image cannot be used; the message names it.
    """

    spec: ImageSpec
    ahead = True

    def __init__(
        self,
        reader: Reader,
        spec: ImageSpec,
        division: Division,
        skew: Skew,
        seed: int,
        kept: Kept,
        threads: int,
        room: float,
        sealed: bool = False,
    ) -> None:
        self.reader, self.spec, self.clients = reader, spec, division.own.clients
        self._division, self._skew, self._seed = division, skew, seed
        self._kept, self._threads, self._room = kept, threads, room
        self._rounds: list[_Round] = []
        self._pool: ThreadPoolExecutor | None = None
        self.images = 0
        """That were decoded or read from disk so far."""
        self.waited = 0.0
        """Seconds that were spent waiting for images so far."""
        self.test = division.test if sealed else self._decoded(division.test)
        self.further = {} if sealed else {name: self._decoded(part) for name, part in division.further.items()}

    def __getstate__(self) -> dict[str, Any]:  # for another process, which tests nothing
        none = self.test.at(np.empty(0, dtype=np.int64))
        return self.__dict__ | {"_rounds": [], "_pool": None, "test": none, "further": {}}

    @property
    def masked(self) -> bool:
        """Whether targets are masks."""
        return self.reader.masked

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""
        return self._division.own.sizes()[np.asarray(ids, dtype=np.int64)]

    def expect(self, ids: Sequence[int]) -> None:
        """Begin to decode these clients' images."""
        asked = [int(client) for client in ids]
        if asked and next(self._having(asked), None) is None:
            self._begun(asked)

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All examples of these clients, or of a round that has them, and the positions of those they train on."""
        return self._given(ids, self._division.own.of_client)

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """The same, and the positions of those they hold out."""
        if not len(self._division.held_out.index):
            return self.test, [np.empty(0, dtype=np.int64) for _ in ids]
        return self._given(ids, self._division.held_out.of_client)

    def targets(self, ids: Sequence[int]) -> list[np.ndarray]:
        """The classes that each of these clients trains on; of masks, which are not read for that, 0."""
        return [self._division.train.targets[self._division.own.of_client(k)] for k in ids]

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """The class of each example; 0 for one with a mask."""
        return np.zeros(len(targets), dtype=np.int64) if self.masked else super().strata(targets)

    def label_counts(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each class at each of these clients, int64 [K, L]; of masks L = 1."""
        return self.sizes(ids)[:, None] if self.masked else super().label_counts(ids)

    def gathered(self, ids: Sequence[int], chosen: Sequence[np.ndarray]) -> Split:
        """Some training examples of each of these clients; no other image is decoded."""
        at = np.concatenate([self._division.own.of_client(k)[some] for k, some in zip(ids, chosen, strict=True)])
        if not self._skew.traits(self._seed, 0, self.spec.shape[2]):
            return self._decoded(self._division.train.at(at))
        found = self._new(self._division.train.at(at))
        begin = 0
        for client, some in zip(ids, chosen, strict=True):  # how a client sees an image depends on its others
            store, (own,) = self.examples([client])
            place = slice(begin, begin + int(some.sum()))
            found.inputs[place] = store.inputs[own[some]]
            if self.masked:
                found.targets[place] = store.targets[own[some]]
            begin = place.stop
        return found

    def groups_of(self, ids: Sequence[int]) -> list[list[str]]:
        """Those of each client's training examples, where clients are made of whole groups."""
        groups_N = self._division.train.groups
        if not self._division.natural or groups_N is None:
            return []
        return [[self.spec.groups[at] for at in np.unique(groups_N[self._division.own.of_client(k)])] for k in ids]

    def traits(self, ids: Sequence[int]) -> dict[str, Any]:
        """What sets the images of each of these clients apart."""
        return self._skew.table(self._seed, ids, self.spec.shape[2])

    @property
    def digests(self) -> dict[str, str]:
        """Of the names of the files, and of how they are divided: the files themselves are too many."""
        files, division = self.reader.files, self._division
        names = digest(files.images, files.masks, self.reader.size)
        return {
            "classes, shape and scale of the images": digest(self.clients, self.spec.plain()),
            "training examples of the clients": digest(
                names, division.train.inputs, division.train.targets, division.own.index, division.own.offsets
            ),
            **{
                f"{name} examples": digest(names, split.inputs, split.targets)
                for name, split in {self.measured: division.test, **division.further}.items()
            },
        }

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _having(self, asked: Sequence[int]) -> Iterator[_Round]:
        """The rounds that have all these clients, the last first."""
        return (there for there in reversed(self._rounds) if set(asked) <= there.begin.keys())

    def _given(self, ids: Sequence[int], of_client: Callable[[int], np.ndarray]) -> tuple[Split, list[np.ndarray]]:
        asked = [int(client) for client in ids]
        there = next(self._having(asked), None) or self._begun(asked)
        began = time.perf_counter()
        index = []
        for client in asked:
            self._finish(there, client)
            whole = self._division.whole.of_client(client)
            index.append(np.searchsorted(whole, of_client(client)) + there.begin[client])
        self.waited += time.perf_counter() - began
        return there.store, index

    def _begun(self, asked: Sequence[int]) -> _Round:
        """Room for these clients' examples, and the threads at work on them."""
        wholes = {client: self._division.whole.of_client(client) for client in dict.fromkeys(asked)}
        sizes = [len(whole) for whole in wholes.values()]
        at = np.concatenate([np.empty(0, dtype=np.int64), *wholes.values()]).astype(np.int64)
        there = _Round(
            self._new(self._division.train.at(at)), dict(zip(wholes, np.cumsum([0, *sizes]).tolist(), strict=False))
        )
        self._rounds = [*self._rounds[1 - ROUNDS :], there]
        for client, whole in wholes.items():
            positions = self._division.train.inputs[whole]
            there.work[client] = self._submitted(positions, there.store, there.begin[client])
        return there

    def _submitted(self, positions: np.ndarray, store: Split, begin: int) -> list[Future[None]]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="fedsam-decode")
        work = []
        for first in range(0, len(positions), CHUNK):
            part = positions[first : first + CHUNK]
            place = slice(begin + first, begin + first + len(part))
            masks = store.targets[place] if self.masked else None
            work.append(self._pool.submit(self._chunk, part, store.inputs[place], masks))
        self.images += len(positions)
        return work

    def _finish(self, there: _Round, client: int) -> None:
        """Wait for a client's images, and show them as it sees them.

        Raises:
            ValueError: a file cannot be used; the message names it.
        """
        work = there.work.get(client, [])
        for each in work:
            each.result()
        if there.work.pop(client, None) is None:
            return
        begin = there.begin[client]
        part = there.store.inputs[begin : begin + len(self._division.whole.of_client(client))]
        shown = self._skew.client_images(part, self._seed, client, self.spec.scale)
        if shown is not part:
            part[...] = shown

    def _decoded(self, part: Split) -> Split:
        """Examples with their images, from those with their positions."""
        found = self._new(part)
        for each in self._submitted(part.inputs, found, 0):
            each.result()
        return found

    def _chunk(self, positions: np.ndarray, images: np.ndarray, masks: np.ndarray | None) -> None:
        """Images, and masks, from disk or from their files."""
        arrays = [images] if masks is None else [images, masks]
        name = self._name(positions)
        if not self._kept.read(name, arrays):
            self.reader.read(positions, images, masks)
            self._kept.write(name, arrays)

    def _name(self, positions: np.ndarray) -> str:
        """Of what is decoded from these files as they are now."""
        return name_of(self.reader.about, *map(self.reader.state, positions.tolist()))

    def _new(self, part: Split) -> Split:
        """Room for the images, and the masks, of these examples."""
        folder, height_width = self._kept.folder, self.reader.shape[:2]
        images = room_for((len(part), *self.reader.shape), self._room, folder)
        masks = room_for((len(part), *height_width), self._room, folder) if self.masked else part.targets
        return replace(part, inputs=images, targets=masks)


def room_for(shape: tuple[int, ...], room: float, folder: Path) -> np.ndarray:
    """An array of bytes, in memory up to `room` bytes, else in a file that is gone with it.

    Args:
        folder: of that file; where it cannot be made, that of all temporary files.
    """
    if float(np.prod(shape, dtype=np.float64)) <= room or not all(shape):
        return np.empty(shape, dtype=np.uint8)
    place: Path | None = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        place = None
    with tempfile.TemporaryFile(prefix="fedsam-", dir=place) as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
