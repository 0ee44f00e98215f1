"""Label noise: training labels that are replaced by wrong ones.

Shapes: N examples, M of them that may be replaced, L classes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from fedsam.errors import InputError

NoiseKind = Literal["symmetric", "asymmetric"]


def with_label_noise(
    labels_N: np.ndarray, at_M: np.ndarray, share: float, kind: NoiseKind, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """A copy of the labels, int64 [N], of which exactly round(share · M) are wrong, all of them among `at_M`.

        ỹ = (y + d) mod L   where an example is chosen, uniformly without replacement,   else ỹ = y

    - symmetric: d uniform in 1 ... L - 1, so each of the other classes is as likely (Patrini et al., "Making deep
      neural networks robust to label noise", CVPR 2017; Han et al., "Co-teaching", NeurIPS 2018);
    - asymmetric: d = 1, the pair flip of Han et al.; in Patrini et al. it goes to a similar class.

    On average the papers' transition matrix, with 1 - share on the diagonal; here the number is exact. Where a paper
    draws from all L classes, the true one among them, its share times (L - 1) / L is ours.

    From the same stream the examples chosen at a share are among those at a larger one, with the same wrong labels, and
    both kinds choose the same.

    Args:
        labels_N: true classes, 0 ... L - 1; not written to.
        at_M: the positions in question, each once; all others keep their label.
        share: of these positions, from 0 to below 1.
        kind: which wrong class.
        classes: L.
        rng: the only source of chance.

    Raises:
        InputError: there is no other class.
    """
    if classes == 1:
        raise InputError("label_noise", share, "needs a class to replace labels by, the data set has one class; set 0")
    chosen = rng.permutation(at_M)[: round(share * len(at_M))]
    shift = rng.integers(1, classes, size=len(chosen)) if kind == "symmetric" else 1
    noisy_N: np.ndarray = labels_N.copy()
    noisy_N[chosen] = (labels_N[chosen] + shift) % classes
    return noisy_N
