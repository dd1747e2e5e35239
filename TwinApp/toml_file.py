"""Small TOML files that users write: read, and checked against a schema, with errors that name what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from TwinCore import InvalidInput, MissingInput
from TwinCore.guard import display_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_BYTES = 1_000_000
Name = Annotated[str, Field(min_length=1, max_length=120)]


class StrictTable(BaseModel):
    """A table without other keys than its own, and without numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Table = TypeVar("Table", bound=StrictTable)


def read_toml(path: Path, schema: type[Table], what: str) -> Table:
    """A file as its schema has it; `what` it is stands in the errors.

    Raises
    ------
    MissingInput
        If there is no such file.
    InvalidInput
        If it is too large or not TOML, or a key is missing, unknown or has a wrong value; the message names it.
    """
    name = display_name(path.name)
    if not path.is_file():
        raise MissingInput(f"There is no {what} {name!r}.")
    if path.stat().st_size > LARGEST_BYTES:
        raise InvalidInput(f"{name}: a {what} has at most {LARGEST_BYTES} bytes; this is something else.")
    try:
        return schema.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name}: it is not a TOML file: {error}.") from error
    except ValidationError as error:
        raise InvalidInput(f"{name}: {in_words(error)}") from error


def in_words(error: ValidationError) -> str:
    """All that is wrong, a sentence each, with the key it is about."""
    sentences = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "the case"
        sentences.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(sentences) + "."
