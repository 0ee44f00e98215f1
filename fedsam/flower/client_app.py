"""The project's ClientApp."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedsam.flower import local

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the node's client."""
    return local.train(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the global model on the client's local test set."""
    return local.evaluate(message, context)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say which partition this node is, and how many examples it has."""
    return local.query(message, context)
