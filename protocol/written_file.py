"""Reading what people write by hand: TOML or JSON over defaults, with rationals in any usual spelling."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from protocol.canonical_json import is_nested_deeper
from protocol.errors import InvalidInput

# Short on purpose: "1e999999999" is refused before anybody computes it.
_RATIONAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20}|/0*[1-9][0-9]{0,19})?")

_MOST_NESTED = 16


class _Decimal(str):
    """The text of a decimal written without quotes, so that 0.1 is one tenth and never a binary float."""

    __slots__ = ()


def read_written(path: Path) -> dict[str, Any]:
    """Return the table in the TOML file at ``path``, or the object in it where its name ends in .json.

    Raises:
        InvalidInput: It cannot be read or parsed, or is no table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json" and is_nested_deeper(text.encode(), _MOST_NESTED):
            raise InvalidInput(
                f"{path} is nested too deeply.", f"At most {_MOST_NESTED} levels.", "Correct its brackets."
            )
        parsed = (json.loads if path.suffix == ".json" else tomllib.loads)(text, parse_float=_Decimal)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read.", f"{error.strerror}.", "Name a file that exists.") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, JSONDecodeError, UnicodeDecodeError
        raise InvalidInput(f"{path} cannot be parsed.", f"{error}.", "Correct its spelling.") from None
    if not isinstance(parsed, dict):
        raise InvalidInput(f"{path} holds no object.", "Fields have names.", 'Begin with {"name": ...}.')
    return parsed


def overlay(defaults: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``defaults`` with what was ``written`` laid over, table by table.

    Where the default is a Fraction, "1/10", "0.1", 0.1 and 1 are turned into one; whatever is no rational, and every
    unknown field, is kept as it is for the schema to refuse by its path.
    """
    result = dict(defaults)
    for name, value in written.items():
        default = defaults.get(name)
        if isinstance(default, dict) and isinstance(value, dict):
            result[name] = overlay(default, value)
        elif isinstance(default, Fraction):
            result[name] = _rational(value)
        else:
            result[name] = value
    return result


def _rational(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, str) and _RATIONAL.fullmatch(value):
        return Fraction(value)
    return value
