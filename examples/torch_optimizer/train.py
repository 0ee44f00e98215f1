"""SAM in a training loop of one's own. Run it: python train.py [EPOCHS]."""

import sys

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import fedsam.torch

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
digits = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = fedsam.torch.SAM(net, torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)

for epoch in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
    for inputs, targets in DataLoader(digits, batch_size=32, shuffle=True):

        def closure(inputs: torch.Tensor = inputs, targets: torch.Tensor = targets) -> torch.Tensor:
            """The loss of this mini-batch; leaves its gradient."""
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(inputs), targets)
            loss.backward()
            return loss

        loss = optimizer.step(closure)
    print(f"epoch {epoch + 1}: loss {loss.item():.4f} on the last mini-batch")
