"""What ``rondo audit`` shows of an audit."""

from dataclasses import replace

from rich.console import Console

from auditor.cli import _rendered, as_json
from auditor.compare import Difference
from auditor.rederive import Audit, Verdict
from protocol.types import Hash, RoundId

MATCH = Audit(RoundId(bytes(32)), 4, Verdict.MATCH, audited=True, result_hash=Hash(bytes(32)))
MISMATCH = replace(MATCH, verdict=Verdict.MISMATCH, differences=(Difference("report.weight", "2", "1"),))
UNDECIDED = replace(MATCH, verdict=Verdict.UNDECIDED, result_hash=None, reason="The task is gone.")


def shown(audit: Audit) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(_rendered(audit))
    return capture.get()


def test_an_unaudited_federation_is_flagged_whatever_the_verdict() -> None:
    for audit in (MATCH, MISMATCH, UNDECIDED):
        assert as_json(audit)["audited"] is True
        assert "naudited" not in shown(audit)
        unaudited = replace(audit, audited=False)
        assert as_json(unaudited)["audited"] is False
        assert "Unaudited: the federation names no auditors" in shown(unaudited)


def test_what_differs_is_named() -> None:
    assert "mismatch in 1 places" in shown(MISMATCH)
    assert "report.weight" in shown(MISMATCH)
    assert "The task is gone." in shown(UNDECIDED)
