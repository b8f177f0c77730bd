"""A process that works in a directory store for some time: ``python -m tests.network.store_actors ROLE SEED ROOT``.

It says ``ready``, waits for a line with the seconds to work, repeats one turn of its role that long, and says how often
it had which outcome, as JSON. A file ``stop`` in ROOT ends it sooner. Each turn asserts what its role may rely on.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from network.directory_store import DirectoryStore
from network.garbage import collect_garbage
from protocol.unixfs import Block
from tests.network.trees import read_tree, tree

SHARED = 12  # trees that everybody puts, reads and lets go


def shared_tree(number: int) -> list[Block]:
    """Return one of the trees that all processes know; neighbours have leaves and nodes in common."""
    return tree(range(2 * number, 2 * number + 8))


def write(store: DirectoryStore, choose: random.Random) -> str:
    """Put a tree in a lease and rely on every block of it until the lease ends."""
    blocks = shared_tree(choose.randrange(SHARED))
    with store.lease():
        if choose.random() < 0.5:
            store.put_blocks(blocks)
        else:
            for block in blocks:
                store.put_block(block)
        time.sleep(choose.uniform(0, 0.02))
        assert len(read_tree(blocks[-1].cid, store.get_block)) == len(blocks)
        if choose.random() < 0.2:
            store.keep(blocks[-1].cid)
    if choose.random() < 0.5:
        store.release(blocks[-1].cid)
    return "written"


def read(store: DirectoryStore, choose: random.Random) -> str:
    """Lease a root. If it is here everything below it is, and stays until the lease ends."""
    blocks = shared_tree(choose.randrange(SHARED))
    with store.lease(blocks[-1].cid):
        if not store.has_block(blocks[-1].cid):
            return "not there"
        for _ in range(3):
            assert len(read_tree(blocks[-1].cid, store.get_block)) == len(blocks)
            time.sleep(choose.uniform(0, 0.01))
    return "read"


def keep(store: DirectoryStore, choose: random.Random) -> str:
    """Keep a tree that nobody else keeps or releases, find it whole without any lease, and let it go."""
    seed = choose.randrange(50)
    blocks = tree([*range(seed, seed + 5), 1000 + seed])
    with store.lease():
        store.put_blocks(blocks)
        store.keep(blocks[-1].cid)
    for _ in range(3):
        time.sleep(choose.uniform(0, 0.02))
        assert len(read_tree(blocks[-1].cid, store.get_block)) == len(blocks)
    store.release(blocks[-1].cid)
    return "kept"


def collect(store: DirectoryStore, choose: random.Random) -> str:
    """Collect garbage without any grace."""
    collected = collect_garbage(store, grace_seconds=0)
    time.sleep(choose.uniform(0, 0.05))
    return "removed" if collected.blocks else "nothing to remove"


def change(store: DirectoryStore, choose: random.Random) -> str:
    """Write or collect."""
    return choose.choice([write, collect])(store, choose)


def main(role: str, seed: str, root: str) -> None:
    """Be one process; see above."""
    turn = {"write": write, "read": read, "keep": keep, "collect": collect, "change": change}[role]
    store, choose = DirectoryStore(Path(root)), random.Random(seed)  # noqa: S311
    outcomes: Counter[str] = Counter()
    print("ready", flush=True)
    end = time.monotonic() + float(sys.stdin.readline())
    while time.monotonic() < end and not (store.root / "stop").exists():
        outcomes[turn(store, choose)] += 1
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
