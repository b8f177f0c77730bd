"""What commands print: people read lines and tables, programs read one JSON document on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from protocol.errors import RondoError


class Output:
    """The two ways a command answers.

    Args:
        json_mode: One JSON document on stdout and everything else on stderr; otherwise text on stdout.
    """

    def __init__(self, json_mode: bool = False) -> None:
        self.json_mode = json_mode

    def say(self, text: str) -> None:
        """Print one line of progress: on stdout, or on stderr where stdout belongs to JSON. Flushed, so that logs live."""
        print(text, file=sys.stderr if self.json_mode else sys.stdout, flush=True)

    def result(self, payload: Mapping[str, Any], render: Callable[[], RenderableType] | None = None) -> None:
        """Print the command's answer: ``payload`` as JSON, or ``render()`` (else ``key: value`` lines) for people."""
        if self.json_mode:
            print(json.dumps(payload, indent=2, sort_keys=False), flush=True)
        elif render is not None:
            from rich.console import Console

            console = Console()
            # A log has no width; 80 columns would break CIDs and addresses in two.
            console = console if console.is_terminal else Console(width=180)
            console.print(render())
        else:
            for key, value in payload.items():
                print(f"{key}: {value}", flush=True)


def print_error(error: RondoError) -> None:
    """Print what happened, why and what to do, on stderr, one line each; where it takes nothing, the exit code says it."""
    try:
        print(f"error: {error.what}", file=sys.stderr)
        for label, text in (("why", error.why), ("do", error.do)):
            if text:
                print(f"  {label}: {text}", file=sys.stderr)
    except OSError:  # a full disk under a log; Python would try again at the end, and exit with a code of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
