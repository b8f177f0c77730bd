"""Nothing but the set of accepted updates decides: orders, memory and kinds of arrays change no byte, and any round is exact."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.round import RoundFacts, derive_round
from processor.runs import Threads
from protocol.content import Files
from protocol.model import decode_model, encode_model
from protocol.task import Consolidation
from protocol.types import Digest, Hash
from tests.processor import reference
from tests.processor.contents import files_on_disk
from tests.processor.factory import TinyRound, account, tiny_model, tiny_task, tiny_terms

PEOPLE = ["alice", "bob", "carol"]


@settings(max_examples=25)
@given(st.permutations([*PEOPLE, "dave", "erin", "mallory"]), st.booleans())
def test_every_order_on_chain_gives_the_same_model(order: list[str], consolidate: bool) -> None:
    rings = []
    for names in (sorted(order), order):
        ring = TinyRound(terms=tiny_terms(consolidate=consolidate))
        for name in names:
            ring.post(name, {} if name == "mallory" else ring.update(name, examples=1 + len(name) * 83))
        rings.append(ring.derive())
    one, other = rings

    assert one.derived.model == other.derived.model
    assert one.merge_digest == other.merge_digest
    assert one.rewards.root == other.rewards.root


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_updates_on_disk_and_threads_change_no_byte(threads: int, tmp_path: Path) -> None:
    ring = TinyRound(terms=tiny_terms(consolidate=True)).post_all(PEOPLE)
    ring.post("mallory", {"update.json": b"{}", "delta.safetensors": b""})
    in_memory = ring.derive()

    def fetch(digest: Digest) -> Files:
        return files_on_disk(ring.fetch(digest), tmp_path / digest.hex())

    on_disk = ring.derive(fetch=fetch, run=Threads(threads))

    assert on_disk.result_hash == in_memory.result_hash
    assert on_disk.merge_digest == in_memory.merge_digest
    assert on_disk.refusals == in_memory.refusals
    assert on_disk.model_files == in_memory.model_files


def test_inputs_are_left_alone() -> None:
    ring = TinyRound(terms=tiny_terms(consolidate=True), base=tiny_model(consolidated=True)).post_all(PEOPLE)
    before = encode_model(ring.base)

    ring.derive()

    assert encode_model(ring.base) == before


def test_read_only_inputs_are_enough() -> None:
    ring = TinyRound(terms=tiny_terms(consolidate=True), base=tiny_model(consolidated=True)).post_all(PEOPLE)
    frozen = decode_model(encode_model(ring.base))

    derivation = derive_round(ring.facts, ring.task, frozen, ring.fetch, frozenset())

    assert derivation.result_hash == ring.derive().result_hash


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 7))
def test_any_round_equals_the_reference(seed: int, clients: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    rule = Consolidation(
        decay=Fraction(chance.randrange(101), 100),
        combine=chance.choice(["median", "trimmed_mean"]),
        trim=chance.randrange(3),
    )
    ring = TinyRound(
        task=tiny_task(delta_type=chance.choice(["int8", "int16", "int32"]), consolidation=rule),
        terms=tiny_terms(consolidate=True),
        base=tiny_model(seed, consolidated=chance.random() < 0.5, span=1 << 24),
    )
    updates = [ring.update(f"client {k}", seed + k, examples=chance.randint(1, 1000)) for k in range(clients)]
    for k, update in enumerate(updates):
        ring.post(f"client {k}", update)

    model = ring.derive().model

    assert model is not None
    mantissas, _ = reference.fedavg(ring.base, updates)
    assert {name: q.reshape(-1).tolist() for name, q in model.mantissas.items()} == mantissas
    if rule.combine == "median" or clients >= 2 * rule.trim + 1:
        assert model.importance is not None
        found = {name: f.reshape(-1).tolist() for name, f in model.importance.items()}
        assert found == reference.consolidated(rule, ring.base, updates)
    else:
        assert model.importance is ring.base.importance


def test_facts_decide_the_result_hash() -> None:
    ring = TinyRound().post_all(PEOPLE)
    plain = ring.facts

    def hashed(changed: RoundFacts) -> Hash:
        return derive_round(changed, ring.task, ring.base, ring.fetch, frozenset()).result_hash

    variants = [plain, replace(plain, chain_id=1), replace(plain, contract=account("other")), replace(plain, index=2)]
    assert len({hashed(variant) for variant in variants}) == len(variants)
    assert hashed(plain) == ring.derive().result_hash
