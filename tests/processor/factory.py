"""Tiny models, updates and rounds, a function of their seeds alone. Everything real: only the trained values are made up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from eth_utils.crypto import keccak

from processor.blocks import Member
from processor.round import Derivation, RoundFacts, derive_round
from processor.runs import Run, serial
from processor.updates import Accepted
from protocol import canonical_json, tensors
from protocol.cid import Cid
from protocol.errors import BlockMissing
from protocol.grid import MANTISSA_LIMIT
from protocol.hashing import federation_id, next_hash, round_id, seed_hash, terms_hash
from protocol.model import Model, encode_model
from protocol.past import NOTHING, Past
from protocol.replay import UpdateState
from protocol.specs import TensorClass, TensorSpec, merged_specs, trainable_specs
from protocol.task import MergeRule, Task, Training
from protocol.terms import RoundTerms
from protocol.types import Address, Digest, FederationId, Hash, RoundId, address
from protocol.unixfs import directory_digest
from protocol.update import Update, encode_update

CHAIN_ID = 31337
WINDOWS = {"int8": (15, 127), "int16": (7, 32_767), "int32": (0, (1 << 22) - 1)}  # most e - E, most |q|

KERNEL, BIAS, MEAN, VARIANCE, COUNT = (
    "00000.dense/kernel",
    "00001.dense/bias",
    "00002.norm/mean",
    "00003.norm/variance",
    "00004.norm/count",
)


def account(name: str) -> Address:
    """The address of acme, alice, bob, carol, mallory …"""
    return address("0x" + keccak(text=name)[12:].hex().lower())


def tiny_specs(kernel: tuple[int, ...] = (4, 3)) -> tuple[TensorSpec, ...]:
    """A dense layer and a batch norm: two trainables on different grids, two statistics, one constant."""
    width = kernel[-1:]
    return (
        TensorSpec(KERNEL, kernel, TensorClass.TRAINABLE, -20),
        TensorSpec(BIAS, width, TensorClass.TRAINABLE, -24),
        TensorSpec(MEAN, width, TensorClass.STATISTIC, -18),
        TensorSpec(VARIANCE, width, TensorClass.STATISTIC, -16, non_negative=True),
        TensorSpec(COUNT, (2,), TensorClass.CONSTANT, None, dtype="int64"),
    )


def tiny_model(
    seed: int = 0, specs: tuple[TensorSpec, ...] | None = None, consolidated: bool = False, span: int = 1 << 20
) -> Model:
    """A model with mantissas in (-span, span); with importance and an anchor if ``consolidated``."""
    random = np.random.default_rng(seed)
    specs = specs or tiny_specs()
    mantissas = {
        spec.name: random.integers(0 if spec.non_negative else 1 - span, span, spec.shape, dtype=np.int32)
        for spec in merged_specs(specs)
    }
    constants = {spec.name: np.arange(spec.shape[0]) for spec in specs if spec.kind is TensorClass.CONSTANT}
    importance = {
        spec.name: random.integers(0, 1 << 32, spec.shape, dtype=np.uint32) for spec in trainable_specs(specs)
    }
    model = Model(b"{}", 0, (), specs, mantissas, constants)
    if consolidated:
        anchor = Cid(0x55, Digest(bytes(32)))
        model = replace(model, importance=importance, anchor=str(anchor))
    return model


def tiny_task(**changes: Any) -> Task:
    """int16 deltas, batches of 10, 2 epochs, at most 1000 examples."""
    task = Task("tiny", merge=MergeRule(examples_cap=1000), training=Training(batch_size=10, epochs=2))
    return replace(task, **changes)


def tiny_terms(**changes: Any) -> RoundTerms:
    """3 base units a millisecond, at most 5000 ms and 16 updates."""
    terms = RoundTerms(
        reward_per_milli=3,
        max_millis=5000,
        time_cap_millis=2500,
        max_updates=16,
        training_seconds=600,
        settlement_seconds=600,
        challenge_seconds=600,
        bond=1000,
        attestation_fee=10,
        consolidate=False,
    )
    return replace(terms, **changes)


@dataclass
class TinyRound:
    """One round in memory: people post updates, `derive` merges them.

    Attributes:
        files: Published artifact files by digest. updates: The chain's record, in order.
    """

    task: Task = field(default_factory=tiny_task)
    terms: RoundTerms = field(default_factory=tiny_terms)
    base: Model = field(default_factory=tiny_model)
    index: int = 1
    files: dict[Digest, Mapping[str, bytes]] = field(default_factory=dict)
    updates: list[UpdateState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.contract, self.acme = account("contract"), account("acme")
        self.federation: FederationId = federation_id(CHAIN_ID, self.contract, self.acme, Hash(bytes(32)))
        self.round: RoundId = round_id(self.federation, self.index)
        self.base_digest: Digest = directory_digest(encode_model(self.base))

    def update(self, name: str, seed: int | None = None, examples: int = 95, **changes: Any) -> Update:
        """An honest update of ``name``; ``changes`` replace its fields afterwards."""
        random = np.random.default_rng(int.from_bytes(name.encode()) % 2**32 if seed is None else seed)
        widest, largest = WINDOWS[self.task.delta_type]
        shifts = {spec.name: int(random.integers(0, widest + 1)) for spec in merged_specs(self.base.specs)}
        deltas, exponents = {}, {}
        for spec in merged_specs(self.base.specs):
            delta = random.integers(-largest, largest + 1, spec.shape, dtype=self.task.delta_type)
            shift = 0 if spec.non_negative else shifts[spec.name]
            if spec.non_negative:
                delta = np.maximum(delta, -np.minimum(self.base.mantissas[spec.name], largest)).astype(delta.dtype)
            deltas[spec.name], exponents[spec.name] = delta, spec.grid + shift
        update = Update(
            federation=self.federation,
            round=self.round,
            author=account(name),
            base=self.base_digest,
            examples=examples,
            steps=self.task.training.planned_steps(examples),
            software="tiny",
            exponents=exponents,
            deltas=deltas,
        )
        if self.task.needs_importance(self.terms.consolidate):
            trainable = trainable_specs(self.base.specs)
            update = replace(
                update,
                importance={spec.name: random.integers(0, 256, spec.shape, dtype=np.uint8) for spec in trainable},
                importance_exponents={spec.name: int(random.integers(-40, 0)) for spec in trainable},
            )
        return replace(update, **changes)

    def post(
        self, name: str, update: Update | Mapping[str, bytes] | Digest | None = None, millis: int = 1000
    ) -> Digest:
        """Publish and commit an update, the files of one, or only a digest; an honest one unless given."""
        if isinstance(update, bytes):
            digest = update
        else:
            update = self.update(name) if update is None else update
            files = encode_update(update) if isinstance(update, Update) else update
            digest = directory_digest(files)
            self.files[digest] = files
        self.updates.append(UpdateState(account(name), Digest(digest), millis, len(self.updates)))
        return Digest(digest)

    def post_all(self, names: Iterable[str]) -> TinyRound:
        """Post an honest update for each name."""
        for name in names:
            self.post(name)
        return self

    @property
    def facts(self) -> RoundFacts:
        """What the chain says of the round."""
        rolling = seed_hash(CHAIN_ID, self.contract, self.round, self.base_digest, terms_hash(self.terms))
        for update in self.updates:
            rolling = next_hash(rolling, update.client, update.digest, update.millis)
        return RoundFacts(
            chain_id=CHAIN_ID,
            contract=self.contract,
            federation=self.federation,
            round=self.round,
            index=self.index,
            base=self.base_digest,
            updates_hash=rolling,
            terms=self.terms,
            updates=tuple(self.updates),
        )

    def fetch(self, digest: Digest) -> Mapping[str, bytes]:
        """The published files of an update."""
        if digest not in self.files:
            raise BlockMissing(digest.hex())
        return self.files[digest]

    def derive(
        self,
        unavailable: Iterable[str] = (),
        fetch: Callable[[Digest], Any] | None = None,
        past: Past = NOTHING,
        run: Run = serial,
    ) -> Derivation:
        """Derive the round; ``unavailable`` are names."""
        absent = frozenset(account(name) for name in unavailable)
        return derive_round(self.facts, self.task, self.base, fetch or self.fetch, absent, past, run)


def member(update: Update, weight: int | None = None) -> Member:
    """``update`` as one that was accepted, weighing its examples unless ``weight`` says otherwise."""
    digest = Digest(hashlib.sha256(update.author.encode()).digest())
    weight = update.examples if weight is None else weight
    return Member(Accepted(update.author, digest, update.examples, update.steps, weight), update)


def with_json(files: Mapping[str, bytes], **fields: Any) -> dict[str, bytes]:
    """The files with fields of ``update.json`` replaced; still canonical."""
    content: Any = canonical_json.loads(files["update.json"])
    return {**files, "update.json": canonical_json.dumps({**content, **fields})}


def with_tensors(files: Mapping[str, bytes], file: str = "delta.safetensors", **changes: Any) -> dict[str, bytes]:
    """The files with a safetensors file whose tensors are those of ``changes['tensors']``; still canonical."""
    return {**files, file: tensors.dumps(changes["tensors"])}


def saturating_model() -> Model:
    """A model whose every weight is the largest that its grid holds."""
    model = tiny_model()
    top = {name: np.full(tensor.shape, MANTISSA_LIMIT - 1, dtype=np.int32) for name, tensor in model.mantissas.items()}
    return replace(model, mantissas=top)
