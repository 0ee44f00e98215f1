"""`model.name=hf:FOLDER`: a model of transformers from a folder with its config.json, or from such a file alone.

Weights that lie in the folder are where training begins, but for a head of another size; without them all are new.
Nothing is fetched, and code that a folder brings along is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from fedsam.border.extra import needed
from fedsam.errors import InputError

CONFIG, WEIGHTS = "config.json", ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
FALLBACK = "AutoModelForImageClassification"
"""The class of models where a configuration does not name one."""


@lru_cache(maxsize=64)
def offered(path: str) -> Callable[..., nn.Module]:
    """What builds the model of this folder or file.

    Raises:
        InputError: transformers is not installed, or there is no configuration that it reads.
    """
    transformers = needed("transformers", "name", f"hf:{path}")
    place = Path(path).expanduser().absolute()
    folder, file = (place, place / CONFIG) if place.is_dir() else (place.parent, place)
    if not file.is_file():
        told = f"there is no {file}; must be a folder with a {CONFIG} in it, or such a file. Nothing is fetched"
        raise _refused(path, told)
    try:
        config = transformers.AutoConfig.from_pretrained(str(file))
    except Exception as error:
        raise _refused(path, f"is not read by transformers ({_brief(error)})") from None
    named = (getattr(config, "architectures", None) or [FALLBACK])[0]
    cls = getattr(transformers, named, None)
    if cls is None:
        raise _refused(path, f"names the class {named}, which transformers {transformers.__version__} has not")
    with_weights = place.is_dir() and any((folder / name).is_file() for name in WEIGHTS)

    def build(num_labels: int) -> nn.Module:
        """A model of transformers'."""
        return _built(cls, config, num_labels, folder if with_weights else None, path)

    return build


def _built(cls: Any, config: Any, num_labels: int, folder: Path | None, path: str) -> nn.Module:
    heads = type(config).from_dict({**config.to_dict(), "id2label": None, "label2id": None})
    heads.num_labels = num_labels
    try:
        if folder is None:
            fresh: nn.Module = cls.from_config(heads) if hasattr(cls, "from_config") else cls(heads)
            return fresh
        with _silent():
            loaded: nn.Module = cls.from_pretrained(
                str(folder), config=heads, ignore_mismatched_sizes=True, local_files_only=True
            )
        return loaded.train()
    except Exception as error:
        raise _refused(path, f"cannot be built ({_brief(error)})") from None


@contextmanager
def _silent() -> Iterator[None]:
    """Inside, transformers shows no bar and no report of the head that is new."""
    logging = needed("transformers", "name", "hf", "utils.logging")
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _refused(path: str, told: str) -> InputError:
    return InputError("name", f"hf:{path}", told)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
