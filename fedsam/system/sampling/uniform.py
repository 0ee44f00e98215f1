"""Uniform sampling."""

from __future__ import annotations

from typing import ClassVar

from fedsam.system.sampling.base import Drawn, Population, Sampling


class Uniform(Sampling):
    """`cohort` clients, uniformly without replacement: scheme II of Li et al., ICLR 2020."""

    bounded: ClassVar[bool] = True

    def draw(self, population: Population) -> Drawn:
        """From those that are there."""
        return Drawn(population.uniform())
