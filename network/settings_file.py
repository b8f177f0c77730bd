"""Writing into a settings file that a person edits as well."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocol.errors import SettingsError


def update_settings(path: Path, values: Mapping[str, str], missing: Mapping[str, str]) -> str:
    """Return the text of the settings file ``path`` with ``values`` set, and with ``missing`` where it has none.

    Every other line stays as it is; settings that are not there yet go to the top, before any table.

    Raises:
        SettingsError: The file cannot be read, is no TOML, or says one of the values in a way that cannot be replaced.
    """
    text = _read(path)
    before = _parse(path, text)
    wanted = {**{name: value for name, value in missing.items() if name not in before}, **values}
    new = []
    for name, value in wanted.items():
        line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
        if name not in before:
            new.append(line)
        elif before[name] != value:
            pattern = rf"^[ \t]*[\"']?{name}[\"']?[ \t]*=.*$"
            text = re.sub(pattern, line.replace("\\", r"\\"), text, count=1, flags=re.MULTILINE)
    text = "".join(f"{line}\n" for line in new) + text
    with contextlib.suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(text) == {**before, **wanted}:
            return text
    # One stood on several lines, or something only looked like it.
    raise _unusable(path, "Its " + ", ".join(wanted) + " cannot be replaced.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, f"{type(error).__name__}.") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unusable(path, f"{error}.") from error


def _unusable(path: Path, why: str) -> SettingsError:
    return SettingsError(f"The settings file {path} cannot be brought up to date.", why, "Correct it, or remove it.")
