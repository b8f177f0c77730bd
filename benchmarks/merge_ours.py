"""Our side of the measurement of merging: one process, one merge, from the store's blocks to the merged model's CID.

    python -m benchmarks.merge_ours '{"store": …, "inputs": …, "terms": {…}, "consolidate": false}'

It prints one JSON line. Before the clock runs everything is imported, and the same was merged once, as in a server that
merged the round before and as in Flower's process, which is one for all turns; what was remembered of these very blocks is
forgotten then. Timed is all of a merge: opening the artifacts, hashing every block of
them, checking every update, merging, encoding the model and hashing it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import MAXRSS_UNIT
from network.directory_store import DirectoryStore
from network.processors import usable_processors
from processor.runs import Threads
from protocol import dag_pb, sha256_lanes, tensor_layout
from protocol.cid import directory_cid, parse_cid
from rondo.freed_memory import keep_freed_memory
from rondo.merge_session import MergeSession


def merge_once(store: DirectoryStore, inputs: Path, terms: dict[str, Any], consolidate: bool) -> str:
    """Merge what ``inputs`` lists and return the model's CID."""
    listed = json.loads(inputs.read_text())
    session = MergeSession(store, Threads(usable_processors()))
    outcome = session.merge(
        parse_cid(listed["base"]).digest,
        [parse_cid(one).digest for one in listed["updates"]],
        None,
        terms,
        consolidate=consolidate,
        index=None,
        publish=False,
    )
    return str(directory_cid(outcome.digest))


def forget() -> None:
    """Forget the nodes and headers that were parsed; what was verified, each store object remembers for itself."""
    dag_pb.forget_nodes()
    tensor_layout._remembered.cache_clear()


def main() -> None:
    """Warm up, then measure what the command line asks for."""
    request = json.loads(sys.argv[1])
    began = time.perf_counter()
    hashing = sha256_lanes.description()  # compiles the lanes
    keep_freed_memory()  # as the command does
    rest = (request["terms"], request["consolidate"])
    merge_once(DirectoryStore(Path(request["store"])), Path(request["inputs"]), *rest)
    forget()
    preparation = time.perf_counter() - began
    store = DirectoryStore(Path(request["store"]))
    began = time.perf_counter()
    cid = merge_once(store, Path(request["inputs"]), *rest)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT
    answer = {"seconds": seconds, "preparation": preparation, "cid": cid, "peak_bytes": peak, "hashing": hashing}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
