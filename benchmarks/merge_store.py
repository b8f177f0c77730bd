"""The inputs of the measurement of merging as artifacts in a directory store: one base, and one update of each client.

    python -m benchmarks.merge_store DIR UPDATES PARAMETERS KIND    # writes DIR/KIND.json: CIDs of base and updates

Kinds: "int16"; "ewc" (int16 with uint8 importance); "int32" (four bytes a coordinate, as float32 has).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks import merge_inputs
from benchmarks.merge_inputs import EXAMPLES, EXPONENT, IMPORTANCE_EXPONENT, LAYERS
from network.directory_store import DirectoryStore
from network.transfer import publish
from protocol.cid import directory_cid
from protocol.model import Model, model_contents
from protocol.specs import TensorClass, TensorSpec
from protocol.types import FederationId, RoundId, address
from protocol.update import Update, encode_update

FEDERATION, ROUND = FederationId(bytes([1]) * 32), RoundId(bytes([2]) * 32)


def base_model(parameters: int) -> Model:
    """Return the base: ten dense layers on a grid of 2^-24."""
    shapes = merge_inputs.shapes(parameters)
    specs = tuple(TensorSpec(name, shape, TensorClass.TRAINABLE, EXPONENT) for name, shape in shapes.items())
    return Model(b"{}", 0, (), specs, merge_inputs.base_mantissas(parameters))


def write_inputs(directory: Path, updates: int, parameters: int, kind: str) -> Path:
    """Publish everything in the store ``directory``/store; return the file that lists it."""
    store = DirectoryStore(directory / "store")
    base = publish(store, model_contents(base_model(parameters)))
    found = []
    for client in range(1, updates + 1):
        change = merge_inputs.change(parameters, client)
        deltas = {name: array.astype(np.int32 if kind == "int32" else np.int16) for name, array in change.items()}
        importance = merge_inputs.importance(parameters, client) if kind == "ewc" else None
        update = Update(
            federation=FEDERATION,
            round=ROUND,
            author=address(f"0x{client:040x}"),
            base=base,
            examples=EXAMPLES,
            steps=LAYERS,
            software="benchmark",
            exponents=dict.fromkeys(deltas, EXPONENT),
            deltas=deltas,
            importance=importance,
            importance_exponents=None if importance is None else dict.fromkeys(importance, IMPORTANCE_EXPONENT),
        )
        found.append(str(directory_cid(publish(store, encode_update(update)))))
    path = directory / f"{kind}.json"
    path.write_text(json.dumps({"base": str(directory_cid(base)), "updates": found}))
    os.sync()  # what is measured next begins with a quiet disk
    return path


if __name__ == "__main__":
    write_inputs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
