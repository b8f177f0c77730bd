"""Flower's side of the measurement of merging, in an environment of its own (.venv-bench), which has Flower but not us.

It answers requests, one JSON line each on stdin, with one JSON line each on stdout. The bytes that clients would have sent
lie in its memory before any clock runs: each client's weights as the protobuf message of Flower's RecordDict, and as
the objects of at most 5 MB that its newer transport carries. Timed is what a server does with them: decode, aggregate.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import numpy as np
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.server.strategy.aggregate import aggregate, aggregate_median, aggregate_trimmed_avg
from flwr.serverapp.strategy.multikrum import select_multikrum
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, no_object_id_recompute
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from numpy.typing import NDArray
from safetensors.numpy import load, save

from benchmarks import merge_inputs
from benchmarks.merge_inputs import EXAMPLES, EXPONENT, IMPORTANCE_EXPONENT

KEY = "num-examples"
Records = list[RecordDict]
Vectors = list[NDArray[np.float32]]


class Peer:
    """The clients' bytes, and what is done with them.

    Args:
        updates: How many clients. parameters: Of each one's model.
    """

    def __init__(self, updates: int, parameters: int) -> None:
        self.updates, self.parameters = updates, parameters
        self._base = merge_inputs.base_mantissas(parameters)
        self._wire = [_message(self._weights(client)) for client in range(1, updates + 1)]
        self._importances: list[bytes] = []

    def run(self, case: str, options: dict[str, Any]) -> dict[str, Any]:
        """Return the seconds of one server's work, by its parts, and the most memory that was resident."""
        cases: dict[str, Callable[..., dict[str, float]]] = {
            "fedavg": self._fedavg,
            "ewc": self._ewc,
            "median": self._median,
            "trimmed_mean": self._trimmed_mean,
            "multikrum": self._multikrum,
            "objects": self._objects,
            "safetensors": self._safetensors,
        }
        prepared = self._prepare(case)
        gc.collect()
        _forget_peak()
        parts = cases[case](**prepared, **options)
        return {**parts, "seconds": sum(parts.values()), "peak_bytes": _peak_bytes()}

    def _prepare(self, case: str) -> dict[str, Any]:
        if case == "ewc" and not self._importances:
            self._importances = [_message(self._importance(client)) for client in range(1, self.updates + 1)]
        if case not in {"ewc"}:
            self._importances = []
        if case == "objects":
            return {"objects": [_objects(record) for record in map(_decode, self._wire)]}
        if case == "safetensors":
            return {"files": [_file(record) for record in map(_decode, self._wire)]}
        return {}

    def _fedavg(self) -> dict[str, float]:
        decode, records = _timed(lambda: [_decode(message) for message in self._wire])
        return {"decode": decode, "aggregate": _timed(lambda: aggregate_arrayrecords(records, KEY))[0]}

    def _ewc(self) -> dict[str, float]:
        first = self._fedavg()
        decode, records = _timed(lambda: [_decode(message) for message in self._importances])
        return {
            "decode": first["decode"] + decode,
            "aggregate": first["aggregate"] + _timed(lambda: aggregate_arrayrecords(records, KEY))[0],
        }

    def _median(self) -> dict[str, float]:
        decode, results = _timed(self._results)
        return {"decode": decode, "aggregate": _timed(lambda: aggregate_median(results))[0]}

    def _trimmed_mean(self, trim: int) -> dict[str, float]:
        decode, results = _timed(self._results)
        share = (trim + 0.5) / self.updates  # of which Flower takes the floor
        return {"decode": decode, "aggregate": _timed(lambda: aggregate_trimmed_avg(results, share))[0]}

    def _multikrum(self, byzantine: int, keep: int) -> dict[str, float]:
        decode, records = _timed(lambda: [_decode(message) for message in self._wire])

        def selected() -> ArrayRecord:
            return aggregate_arrayrecords(select_multikrum(records, byzantine, keep), KEY)

        return {"decode": decode, "aggregate": _timed(selected)[0]}

    def _objects(self, objects: list[tuple[str, dict[str, bytes]]]) -> dict[str, float]:
        decode, records = _timed(lambda: [inflate_object_from_contents(name, parts) for name, parts in objects])
        return {"decode": decode, "aggregate": _timed(lambda: aggregate_arrayrecords(records, KEY))[0]}

    def _safetensors(self, files: list[bytes]) -> dict[str, float]:
        decode, loaded = _timed(lambda: [(list(load(data).values()), EXAMPLES) for data in files])
        return {"decode": decode, "aggregate": _timed(lambda: aggregate(loaded))[0]}

    def _results(self) -> list[tuple[Vectors, int]]:
        return [(_decode(message)["arrays"].to_numpy_ndarrays(), EXAMPLES) for message in self._wire]

    def _weights(self, client: int) -> Vectors:
        """The client's weights: base plus change, exact in float32."""
        changed = merge_inputs.change(self.parameters, client)
        scale = np.float32(2.0**EXPONENT)
        return [(before + changed[name]).astype(np.float32) * scale for name, before in self._base.items()]

    def _importance(self, client: int) -> Vectors:
        scale = np.float32(2.0**IMPORTANCE_EXPONENT)
        return [
            values.astype(np.float32) * scale for values in merge_inputs.importance(self.parameters, client).values()
        ]


def krum_selects(vectors: str, byzantine: int, keep: int) -> dict[str, Any]:
    """Return which rows of the float32 matrix in the .npy file ``vectors`` Flower's multi-Krum selects."""
    records = [_record([row]) for row in np.load(vectors)]
    chosen = {id(record) for record in select_multikrum(records, byzantine, keep)}
    return {"selected": [number for number, record in enumerate(records) if id(record) in chosen]}


def _record(arrays: Vectors) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({KEY: EXAMPLES})})


def _message(arrays: Vectors) -> bytes:
    return bytes(recorddict_to_proto(_record(arrays)).SerializeToString())


def _decode(message: bytes) -> RecordDict:
    return recorddict_from_proto(ProtoRecordDict.FromString(message))


def _objects(record: RecordDict) -> tuple[str, dict[str, bytes]]:
    with no_object_id_recompute():
        nested = get_all_nested_objects(record)
        return record.object_id, {name: part.deflate() for name, part in nested.items()}


def _file(record: RecordDict) -> bytes:
    arrays = record["arrays"].to_numpy_ndarrays()
    return bytes(save({f"{number:05d}": array for number, array in enumerate(arrays)}))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _forget_peak() -> None:
    """Let the kernel begin anew with the most that was resident (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Answer requests until stdin ends."""
    peer: Peer | None = None
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("what")
        if what == "versions":
            answer: dict[str, Any] = {name: version(name) for name in ("flwr", "numpy", "protobuf", "safetensors")}
        elif what == "size":
            peer = None  # its bytes make room first
            peer, answer = Peer(**request), {"ready": True}
        elif what == "krum_selects":
            answer = krum_selects(**request)
        else:
            assert peer is not None, "a size comes first"
            answer = peer.run(what, request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
