"""Client optimisers as ordinary torch optimisers, for training loops that are not fedsam's.

>>> import torch, fedsam.torch
>>> net = torch.nn.Linear(2, 1)
>>> optimizer = fedsam.torch.SAM(net.parameters(), torch.optim.SGD, rho=0.05, lr=0.1)
>>> inputs, targets = torch.eye(2), torch.ones(2, 1)
>>> def closure():
...     optimizer.zero_grad()
...     loss = torch.nn.functional.mse_loss(net(inputs), targets)
...     loss.backward()
...     return loss
>>> before = optimizer.step(closure)
>>> bool(closure() < before)
True
"""

from fedsam.torch.optimisers import ASAM, FSAM, GSAM, SAM, SAMON, WSAM, Lookahead, Lookbehind, LookSAM, Multistep
from fedsam.torch.wrapped import Wrapped

__all__ = ["ASAM", "FSAM", "GSAM", "SAM", "SAMON", "WSAM", "LookSAM", "Lookahead", "Lookbehind", "Multistep", "Wrapped"]
