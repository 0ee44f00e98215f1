"""Which combinations have a bound that is known."""

from __future__ import annotations

from fedsam.algorithm.strategy import Strategy
from fedsam.errors import InputError
from fedsam.system.base import System
from fedsam.transforms.base import Compression, Privacy


def check_bound(privacy: Privacy, compression: Compression, server: Strategy, system: System) -> None:
    """Refuse differential privacy where its bound is not known.

    Raises:
        InputError: with what to use instead.
    """
    if not privacy.active:
        return
    if not server.one_vector:
        told = f"server.name={server.name} has clients send more than one clipped vector, of which no bound is known"
        raise InputError("privacy.name", privacy.name, f"{told}; use server.name=fedavg, or privacy.name=none")
    if not server.linear:
        told = f"server.name={server.name} does more than add up updates, which is all that the bound is for"
        raise InputError("privacy.name", privacy.name, f"{told}; use server.name=fedavg, or privacy.name=none")
    if not system.uniform or not system.sampling.bounded:
        told = "no bound is known for clients that are not sampled uniformly from all, nor by Poisson's way"
        raise InputError("privacy.name", privacy.name, f"{told}; change the system.* keys, or use privacy.name=none")
    if privacy.dense and compression.active:
        told = "noise of clients would be added to what was compressed, and nothing be saved"
        raise InputError("privacy.noise_by", "clients", f"{told}; use privacy.noise_by=server, or compress.name=none")


def check_shared(server: Strategy, system: System, validation: float) -> None:
    """Refuse to choose clients or settings by the global model where nobody trains a part of it.

    Raises:
        InputError: with what to use instead.
    """
    told = f"goes by the global model, in which nobody trains what server.name={server.name} leaves with clients"
    if server.personal and system.sampling.by_loss:
        raise InputError("system.sampling", system.sampling.name, f"{told}; use uniform or weighted")
    if server.personal and validation:
        raise InputError("data.validation", validation, f"{told}; sweep, with data.local_test and local.every")


def check_whole(compression: Compression, server: Strategy) -> None:
    """Refuse to compress updates of which a part stays with the clients: its zeros would be counted.

    Raises:
        InputError: with what to use instead.
    """
    if compression.active and type(server).staying is not Strategy.staying:
        told = f"of server.name={server.name} a part of each update stays with its client"
        raise InputError("compress.name", compression.name, f"{told}; use compress.name=none")
