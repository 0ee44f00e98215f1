"""Several clients to a user or domain, each with a part of it."""

from __future__ import annotations

import numpy as np

from fedsam.data.partition.base import Assignment, even_sizes
from fedsam.data.partition.groups import ByGroups
from fedsam.errors import InputError


class WithinGroups(ByGroups):
    """The examples of each group, in a random order, are divided evenly among its clients, of which there are ⌊K / G⌋
    or ⌈K / G⌉, the first groups having the more; clients are in the order of the groups.

    The clients of a domain share its look and have few examples each, as in FedDrive (Fantauzzo et al., IROS 2022),
    whose clients each have images of one city, or of one domain.
    """

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide all examples.

        Raises:
            InputError: `samples_per_client` is given, or a group has fewer examples than clients.
        """
        whole = super().assign(labels, clients, samples_per_client, rng)  # a client for each group
        found = []
        for group, number in enumerate(even_sizes(clients, whole.clients, None)):
            own = rng.permutation(whole.of_client(group))
            if number > len(own):
                told = f"a group of {len(own)} examples cannot be divided among {number} clients; set fewer"
                raise InputError("clients", clients, told)
            found += [np.sort(part) for part in np.array_split(own, number)]
        return Assignment.of(found)

    def clients_of(self, groups: int, clients: int, rng: np.random.Generator) -> np.ndarray:
        """One for each, to be divided further.

        Raises:
            InputError: there are fewer clients than groups.
        """
        if clients < groups:
            told = f"fewer clients than the {groups} groups that have training examples; use partition grouped"
            raise InputError("clients", clients, told)
        return np.arange(groups)
