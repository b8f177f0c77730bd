"""The demo while it runs: a live table on a terminal, one plain line a change in a log."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from network.chain import Chain
from network.console import Output
from network.store import ContentStore
from protocol.errors import RondoError
from protocol.state import RoundState
from protocol.types import FederationId, RoundId
from rondo.demo_summary import read_report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table


class Progress:
    """Shows what the chain says of a federation's rounds, whenever it changed."""

    def __init__(self, chain: Chain, store: ContentStore, federation: FederationId, output: Output) -> None:
        from rich.console import Console

        self.chain, self.store, self.federation, self.output = chain, store, federation, output
        self._console: Console = Console(stderr=output.json_mode)
        self._live: Live | None = None
        self._lines: dict[RoundId, tuple[str, ...]] = {}
        self._accuracy: dict[RoundId, str] = {}

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self) -> None:
        """Read the chain once and show what is new."""
        state = self.chain.state()
        rounds = [state.rounds[round_id] for round_id in state.federations[self.federation].rounds]
        for round_ in rounds:
            line = self._line(round_)
            if self._lines.get(round_.id) != line:
                self._lines[round_.id] = line
                if self._live is None:
                    self.output.say("round {}: {}, {} updates, {} attestations, accuracy {}, paid {}".format(*line))
        if self._live is not None:
            self._live.update(self._table())

    def _line(self, round_: RoundState) -> tuple[str, ...]:
        paid = sum(1 for update in round_.updates if update.paid is not None)
        return (
            str(round_.index),
            round_.phase.name.lower(),
            f"{len(round_.updates)}/{round_.terms.max_updates}",
            str(len(round_.attestations)),
            self._accuracy_of(round_),
            f"{paid}/{len(round_.updates)}",
        )

    def _accuracy_of(self, round_: RoundState) -> str:
        if round_.settled is None:
            return "-"
        if round_.id not in self._accuracy:
            try:
                report = read_report(self.store, round_)
            except RondoError:
                return "?"  # only the picture; the summary reads it again and fails loudly
            correct, total = report[1].metrics.get("accuracy", (0, 0)) if report else (0, 0)
            self._accuracy[round_.id] = f"{correct / total:.3f}" if total else "-"
        return self._accuracy[round_.id]

    def _table(self) -> Table:
        from rich.table import Table

        table = Table("round", "phase", "updates", "attestations", "accuracy", "clients paid")
        for line in self._lines.values():
            table.add_row(*line)
        return table
