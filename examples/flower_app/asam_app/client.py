"""The ClientApp."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from asam_app.task import described
from fedsam.flower import local

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """ASAM on this node's images."""
    return local.train(message, context, described(context.run_config))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Accuracy on this node's own test images."""
    return local.evaluate(message, context, described(context.run_config))
