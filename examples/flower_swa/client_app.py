"""A client with its own loader and model, which trains with ASAM at the learning rate that the server sends."""

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset

import fedsam.torch

app = ClientApp()
images, labels = map(torch.tensor, load_digits(return_X_y=True))
digits = TensorDataset(images.float() / 16, labels)


def network() -> torch.nn.Module:
    """A small perceptron for the digits."""
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


@app.train()
def train(message: Message, context: Context) -> Message:
    """One pass over the client's digits."""
    net = network()
    net.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    lr = message.content.config_records["config"]["lr"]
    optimizer = fedsam.torch.ASAM(net, torch.optim.SGD, rho=0.5, lr=lr)
    first, every = (int(context.node_config[name]) for name in ("partition-id", "num-partitions"))
    mine = Subset(digits, range(first, len(digits), every))
    for inputs, targets in DataLoader(mine, batch_size=32, shuffle=True):

        def closure(inputs: torch.Tensor = inputs, targets: torch.Tensor = targets) -> torch.Tensor:
            """The loss of this mini-batch; leaves its gradient."""
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(inputs), targets)
            loss.backward()
            return loss

        optimizer.step(closure)
    metrics = MetricRecord({"num-examples": len(mine)})
    return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message)
