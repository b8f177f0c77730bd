"""acme settles a distilled round with a model of another kind than the round demands: other grid, lineage, committee or layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.cli import STATED, as_json
from auditor.rederive import Verdict
from auditor.worker import AuditorWorker
from network.transfer import fetch, publish
from protocol.model import Model, decode_model, encode_model
from protocol.report import decode_report, derived_hash, encode_report
from protocol.specs import TensorSpec
from protocol.terms import PayBasis, Phase, Settlement
from protocol.types import RoundId
from tests.auditor.test_stated import Halving, audit, founded, shown
from tests.organization.world import World
from tests.processor.factory import BIAS


def settled_otherwise(world: World, change: Callable[[Model], Model]) -> None:
    """acme publishes another model than its student's, and a report that calls it the stated one."""
    world.launch()
    world.ledger.advance(10)
    for name in ("alice", "bob"):
        world.post(name)
    world.close_training()
    worker = world.worker(student=Halving())
    chain = worker.chain

    class Lying:
        def __getattr__(self, name: str) -> Any:
            return getattr(chain, name)

        def settle(self, round_id: RoundId, settlement: Settlement) -> None:
            honest = decode_model(fetch(world.store, settlement.model, 1 << 20))
            model = publish(world.store, encode_model(change(honest)))
            derived, statement = decode_report(fetch(world.store, settlement.report, 1 << 20))
            derived = replace(derived, model=model)
            report = publish(world.store, encode_report(derived, statement))
            chain.settle(round_id, replace(settlement, model=model, report=report, derived_hash=derived_hash(derived)))

    worker.chain = Lying()  # type: ignore[assignment]
    worker.settle(world.round.id)


def other_grid(model: Model) -> Model:
    first = model.specs[0]
    return replace(model, specs=(TensorSpec(first.name, first.shape, first.kind, first.grid - 1), *model.specs[1:]))


@pytest.mark.parametrize(
    "change",
    [
        other_grid,
        lambda model: replace(model, parents=()),
        lambda model: replace(model, committee=None),
        lambda model: replace(model, architecture=b'{"class_name":"Other"}'),
    ],
    ids=["grid", "parents", "committee", "architecture"],
)
def test_a_stated_model_of_another_kind_is_caught(tmp_path: Path, change: Callable[[Model], Model]) -> None:
    world = founded(tmp_path)
    settled_otherwise(world, change)
    result = audit(world)
    assert result.verdict is Verdict.MISMATCH and result.stated is False
    found = {item.where: item for item in result.differences}
    assert {"report.model", "report.outcome", "report.stated", "chain.model", "chain.derived_hash"} <= found.keys()
    assert found["report.outcome"].derived == "unfit-model"
    assert STATED not in shown(result) and as_json(result)["model"] == "recomputed"

    dave = AuditorWorker(
        world.chain("dave"), world.store, world.federation_id, tmp_path / "dave", attest=True, say=world.said.append
    )
    for _ in range(4):
        dave.step()
    assert world.round.phase is Phase.REJECTED and world.federation.head == world.round.base
    assert world.round.basis is PayBasis.RESULT  # the auditors' result pays clients by what they did
    revealed = world.round.revealed
    assert revealed is not None and (revealed.model, revealed.rewards_total > 0) == (world.round.base, True)


def test_the_weights_of_a_stated_model_are_the_organizations_to_choose(tmp_path: Path) -> None:
    """What the flag warns of: an auditor cannot tell one student from another."""
    world = founded(tmp_path)
    settled_otherwise(
        world, lambda model: replace(model, mantissas={**model.mantissas, BIAS: model.mantissas[BIAS] * 0})
    )
    result = audit(world)
    assert result.verdict is Verdict.MATCH and result.stated
