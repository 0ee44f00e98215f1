"""`python -m fedsam.reference` writes what is generated from the modules into the checkout; `make format` calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedsam.flower.settings import toml
from fedsam.reference import completion, held, keys, methods, parts, short

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Generated:
    """A part of a file that is made from the modules.

    Args:
        file: below the checkout.
        begin: the line before the part.
        end: the line after it; "" = the part goes on to the end of the file.
        made: makes the part.
    """

    file: str
    begin: str
    end: str
    made: Callable[[], str]

    def written(self, text: str) -> str:
        """The file's text with the part as it should be."""
        before, _, rest = text.partition(self.begin + "\n")
        after = rest[rest.index(self.end) :] if self.end else ""
        return f"{before}{self.begin}\n{self.made()}{after}"


GENERATED = (
    Generated("pyproject.toml", "[tool.flwr.app.config]", "", toml),
    Generated("fedsam/cli/completion.txt", "# keys and their values, for shells", "", completion.lines),
    Generated("README.md", "<!-- parts -->", "<!-- end of parts -->", parts.markdown),
    Generated("docs/concepts/methods.md", "<!-- methods -->", "<!-- end of methods -->", methods.markdown),
    Generated("docs/reference/parts.md", "<!-- parts -->", "<!-- end of parts -->", parts.catalogue),
    Generated("docs/reference/keys.md", "<!-- keys -->", "<!-- end of keys -->", keys.markdown),
)


def main() -> None:
    """Write every part, and every module, that is stale."""
    for name in (*held.MODULES, *short.PACKAGES):
        file = ROOT / name
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        after = held.written(name) if name in held.MODULES else short.written(name, before)
        if after != before:
            file.write_text(after, encoding="utf-8")
            print(f"{name}: written anew")
    for part in GENERATED:
        file = ROOT / part.file
        before = file.read_text(encoding="utf-8")
        if (after := part.written(before)) != before:
            file.write_text(after, encoding="utf-8")
            print(f"{part.file}: written anew")


if __name__ == "__main__":
    main()
