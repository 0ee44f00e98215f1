"""pfl-research (Granqvist et al., NeurIPS 2024): its own `SimulatedBackend` and `FederatedAveraging` in this process.

Each user's images lie on its device as tensors, normalised beforehand, as in its published benchmarks. Nothing is
evaluated.
"""

from __future__ import annotations

import types
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

if TYPE_CHECKING:
    from fedsam.bench.common.work import Work

PACKAGE = "pfl"
INSTALL = "pip install pfl"
NEVER = 10**9


class Peer:
    """Central iterations of federated averaging."""

    def __init__(self, work: Work) -> None:
        pytorch = import_module("pfl.model.pytorch")
        dataset = import_module("pfl.data.pytorch").PyTorchTensorDataset
        federated, sampling = import_module("pfl.data.federated_dataset"), import_module("pfl.data.sampling")
        backend = import_module("pfl.aggregate.simulate").SimulatedBackend
        averaging = import_module("pfl.algorithm.federated_averaging").FederatedAveraging
        hyper = import_module("pfl.hyperparam.base").NNTrainHyperParams
        settings = import_module("pfl.algorithm.base").NNAlgorithmParams
        device = import_module("pfl.internal.ops.pytorch_ops").get_default_device()

        data = [tuple(tensor.to(device) for tensor in work.tensors(k)) for k in range(work.clients)]
        sampler = sampling.get_user_sampler("minimize_reuse", list(range(work.clients)))
        users = federated.FederatedDataset(lambda user: dataset(data[user], user_id=str(user)), sampler)
        module = _as_pfl_wants(work.module().to(device))

        def local(parameters: Any, lr: float) -> torch.optim.Optimizer:
            return torch.optim.SGD(parameters, lr=lr, weight_decay=work.decay)

        central = torch.optim.SGD(module.parameters(), lr=1.0)
        self.model = pytorch.PyTorchModel(module, local, central)
        self.backend = backend(training_data=users, val_data=None)
        self.algorithm = averaging()
        self.settings = settings(
            central_num_iterations=NEVER,
            evaluation_frequency=NEVER,
            train_cohort_size=work.cohort,
            val_cohort_size=None,
        )
        self.training = hyper(local_num_epochs=1, local_learning_rate=work.lr, local_batch_size=work.batch)
        self.iteration = 0  # is evaluated, if asked for; the first one here is the next

    def round(self) -> None:
        """One central iteration, as `FederatedAlgorithm.run` takes it."""
        self.iteration += 1
        contexts, self.model, _ = self.algorithm.get_next_central_contexts(
            self.model, self.iteration, self.settings, self.training
        )
        found = []
        for context in contexts:
            statistics, metrics = self.backend.gather_results(self.model, self.algorithm, central_context=context)
            found.append((context, statistics))
        self.model, _ = self.algorithm.process_aggregated_statistics_from_all_contexts(
            tuple(found), metrics, self.model
        )

    def close(self) -> None:
        """Nothing was started."""


def _as_pfl_wants(module: nn.Module) -> nn.Module:
    """The module with the two methods that pfl calls."""

    def loss(self: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self(inputs), labels)

    def metrics(self: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, Any]:
        return {}

    module.loss = types.MethodType(loss, module)  # type: ignore[assignment]
    module.metrics = types.MethodType(metrics, module)  # type: ignore[assignment]
    return module
