"""What partitions by users or domains share.

Shapes: N examples, G groups that have training examples.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from fedsam.data.partition.base import Assignment, Partition
from fedsam.errors import InputError


class ByGroups(Partition):
    """A rule that gives every client whole groups. It needs `of_groups` before `assign`."""

    requires: ClassVar[frozenset[str]] = frozenset({"groups"})
    _groups: np.ndarray | None = None

    def of_groups(self, groups: np.ndarray | None, names: tuple[str, ...]) -> Partition:
        """The same rule for these examples.

        Raises:
            InputError: it is not known where they come from.
        """
        if groups is None:
            told = "needs to know which user or domain each example comes from, and this data set does not say"
            raise InputError("partition", self.name, f"{told}; use another")
        other = self.model_copy()
        other._groups = groups
        return other

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide all examples.

        Raises:
            InputError: `samples_per_client` is given, or there cannot be so many clients.
        """
        if samples_per_client is not None:
            allowed = f"sizes are those of the groups in partition {self.name}; leave it out, or choose partition iid"
            raise InputError("samples_per_client", samples_per_client, allowed)
        if self._groups is None:
            raise TypeError("of_groups() comes before assign()")
        there_G, group_N = np.unique(self._groups, return_inverse=True)
        client_G = self.clients_of(len(there_G), clients, rng)
        return Assignment.owned(np.arange(len(labels)), client_G[group_N], int(client_G.max()) + 1)

    @abstractmethod
    def clients_of(self, groups: int, clients: int, rng: np.random.Generator) -> np.ndarray:
        """The client that has each group, int64 [G].

        Args:
            groups: how many have training examples, G.
            clients: as for `assign`.
            rng: the only source of chance.

        Raises:
            InputError: there cannot be so many clients.
        """
