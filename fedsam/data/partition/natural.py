"""Natural division: a client is a user, a domain, a city, a topic."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedsam.data.partition.groups import ByGroups
from fedsam.errors import InputError


class Natural(ByGroups):
    """Each client has the examples of one group of the data set, all of them; clients are in the order of the groups.

    There are as many clients as groups that have training examples; `data.clients` can be left out. Nothing is random.
    A group that has none, or that is held out (`data.unseen`), is no client.

    Source: Caldas et al., "LEAF: a benchmark for federated settings", 2018; Hsu, Qi and Brown, "Federated visual
    classification with real-world data distribution", ECCV 2020.
    """

    counts: ClassVar[bool] = True

    def clients_of(self, groups: int, clients: int, rng: np.random.Generator) -> np.ndarray:
        """A client for each.

        Raises:
            InputError: another number of clients is asked for.
        """
        if clients not in (0, groups):
            told = f"there are {groups} groups with training examples, and each is a client"
            raise InputError("clients", clients, f"{told}; leave it out, or use partition grouped")
        return np.arange(groups)
