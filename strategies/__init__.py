"""Server strategies, and averages that wrap any of them. One algorithm, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.beside import same
from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.strategies.adabest import AdaBest
    from fedsam.strategies.averages.ema import EMA
    from fedsam.strategies.averages.swa import SWA
    from fedsam.strategies.averages.wima import WiMA
    from fedsam.strategies.fedacg import FedACG
    from fedsam.strategies.fedadagrad import FedAdagrad
    from fedsam.strategies.fedadam import FedAdam
    from fedsam.strategies.fedavg import FedAvg
    from fedsam.strategies.fedavgm import FedAvgM
    from fedsam.strategies.fedcm import FedCM
    from fedsam.strategies.feddyn import FedDyn
    from fedsam.strategies.fedexp import FedExP
    from fedsam.strategies.fedgamma import FedGAMMA
    from fedsam.strategies.fedgf import FedGF
    from fedsam.strategies.fedgloss import FedGloSS
    from fedsam.strategies.fedlesam import FedLESAM
    from fedsam.strategies.fedlesam_d import FedLESAMD
    from fedsam.strategies.fedlesam_s import FedLESAMS
    from fedsam.strategies.fedmoswa import FedMoSWA
    from fedsam.strategies.fednova import FedNova
    from fedsam.strategies.fednsam import FedNSAM
    from fedsam.strategies.fedper import FedPer
    from fedsam.strategies.fedprox import FedProx
    from fedsam.strategies.fedsmoo import FedSMOO
    from fedsam.strategies.fedspeed import FedSpeed
    from fedsam.strategies.fedswa import FedSWA
    from fedsam.strategies.fedwmsam import FedWMSAM
    from fedsam.strategies.fedyogi import FedYogi
    from fedsam.strategies.mofedsam import MoFedSAM
    from fedsam.strategies.qfedavg import QFedAvg
    from fedsam.strategies.scaffold import Scaffold

__all__ = [
    "EMA",
    "SWA",
    "AdaBest",
    "FedACG",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedCM",
    "FedDyn",
    "FedExP",
    "FedGAMMA",
    "FedGF",
    "FedGloSS",
    "FedLESAM",
    "FedLESAMD",
    "FedLESAMS",
    "FedMoSWA",
    "FedNSAM",
    "FedNova",
    "FedPer",
    "FedProx",
    "FedSMOO",
    "FedSWA",
    "FedSpeed",
    "FedWMSAM",
    "FedYogi",
    "MoFedSAM",
    "QFedAvg",
    "Scaffold",
    "WiMA",
]
__getattr__ = short("fedsam.strategies", "fedsam.strategies.averages")

same(__name__)
