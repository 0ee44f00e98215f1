"""What pydantic finds wrong with a value, in our words."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fedsam.errors import InputError

_WORDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "literal_error": "must be one of {expected}",
    "string_type": "must be text",
    "is_instance_of": "must be a name or an object of class {class}",
}


def one_error(error: ValidationError) -> InputError:
    """The first error of those that pydantic has found."""
    first, *others = error.errors()
    where = ".".join(str(part) for part in first["loc"][:1])
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, InputError):
        return inner.under(where) if where else inner
    given = InputError.ABSENT if isinstance(first["input"], dict) else first["input"]
    either = [_words(each) for each in (first, *others) if each["loc"][:1] == first["loc"][:1]]
    return InputError(where, given, " or ".join(dict.fromkeys(either)).replace(" or must be", " or"))


def _words(error: Any) -> str:
    words, context = _WORDS.get(error["type"]), error.get("ctx", {})
    if words is None and isinstance(context.get("error"), Exception):  # raised by a validator
        return str(context["error"])
    return words.format(**context) if words else error["msg"][0].lower() + error["msg"][1:]
