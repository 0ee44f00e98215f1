"""The project's ClientApp.

What needs torch is imported when it is needed: in a deployment, Flower starts a new process for every message.
"""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedsam.flower.guard import guard
from fedsam.flower.names import config_of, introduce

guard()
app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the node's client."""
    from fedsam.flower import local

    return local.train(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the global model on the client's local test set."""
    from fedsam.flower import local

    return local.evaluate(message, context)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say which partition this node is, and how many examples it has."""
    if "run" not in config_of(message):
        return introduce(message, context)
    from fedsam.flower import local

    return local.query(message, context)
