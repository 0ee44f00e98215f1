"""A Hugging Face data set, divided among clients.

python examples/hugging_face/train.py                 # made here, nothing is downloaded
python examples/hugging_face/train.py ylecun/mnist    # from the hub: pip install 'fedsam[hub]'
"""

import sys
from typing import Any

from datasets import Dataset, load_dataset

import fedsam
from fedsam import Run
from fedsam.optim import ASAM, SGD


def made_here() -> Any:
    """Handwritten digits with MNIST's columns: `image`, a picture, and `label`."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    pictures = [Image.fromarray((16 * picture).clip(0, 255).astype("uint8")) for picture in found.images]
    whole = Dataset.from_dict({"image": pictures, "label": found.target.tolist()})
    return whole.train_test_split(test_size=0.2, seed=0)


hub = load_dataset(sys.argv[1]) if sys.argv[1:] else made_here()
data = fedsam.dataset(hub["train"], hub["test"], inputs="image", targets="label", clients=40, alpha=0.1)
methods = {"FedAvg": SGD(lr=0.1), "FedASAM": ASAM(rho=0.5, lr=0.1)}
runs = {name: Run(data=data, client=client, rounds=60) for name, client in methods.items()}
print(fedsam.compare(runs, seeds=2))
