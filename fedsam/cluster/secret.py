"""The token by which the processes of a Ray cluster know each other, and by which others join it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fedsam.errors import InputError

MODE, TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"


def new() -> dict[str, str]:
    """The environment of a cluster that nobody else can join: its token is written down nowhere.

    Raises:
        InputError: this Ray has no tokens, so that its clusters run anybody's code.
    """
    if _loader() is None:
        import ray

        allowed = f"ray {ray.__version__} cannot keep strangers out of what it starts; pip install 'ray>=2.52'"
        raise InputError("", InputError.ABSENT, allowed)
    return {MODE: "token", TOKEN: secrets.token_hex(32)}


def known() -> dict[str, str]:
    """The environment to join a cluster of somebody else's: the user's own token is shown, if there is one.

    It is where Ray looks for it: in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH names, in ~/.ray/auth_token.
    """
    loader = _loader()
    if os.environ.get(MODE) or loader is None:
        return {}
    loader.reset_cache()
    return {MODE: "token"} if loader.has_token(ignore_auth_mode=True) else {}


def reread() -> None:
    """Have Ray look at the environment again, of which it keeps what it found first: not while it is connected."""
    loader = _loader()
    if loader is not None:
        from ray._raylet import Config  # type: ignore[attr-defined]

        Config.initialize("")
        loader.reset_cache()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These environment variables for a while; what is set meanwhile, as Ray does, is put back with them."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _loader() -> Any:
    try:
        from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
    except ImportError:
        return None
    return AuthenticationTokenLoader.instance()
