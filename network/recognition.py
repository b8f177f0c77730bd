"""Whether content says itself that it is what the log calls it, so that nobody's else pin is let go for it.

Clients choose the digests of their updates, and organizations those of their models. On a store that others use too, or
that serves two contracts, such a digest may be the root of a pin that is not this contract's; an honest artifact shows
by its files' names, and an update and a record by the federation that they name.
"""

from __future__ import annotations

from collections.abc import Collection

from network.artifact_tree import local_get
from network.store import BlockSource
from protocol import canonical_json
from protocol.cid import Cid
from protocol.committee import COMMITTEE
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing
from protocol.model import ARCHITECTURE, MANIFEST, WEIGHTS
from protocol.model import IMPORTANCE as MODEL_IMPORTANCE
from protocol.report import DERIVED, STATEMENT
from protocol.retention import Kind, Mention
from protocol.server_state import FILES as STATE_FILES
from protocol.server_state import STATE
from protocol.task import MAX_ARTIFACT_BYTES, TASK
from protocol.tensor_layout import header_bytes, read_layout
from protocol.types import FederationId, hex32
from protocol.unixfs import CHUNK, Get, file_leaves, list_directory, read_file, read_leaf
from protocol.update import DELTA, IMPORTANCE
from protocol.update import MANIFEST as UPDATE_MANIFEST

# The files that every artifact of a kind has, and those that it may have.
_FILES = {
    Kind.TASK: ({TASK}, {TASK}),
    Kind.MODEL: ({ARCHITECTURE, WEIGHTS, MANIFEST}, {ARCHITECTURE, WEIGHTS, MANIFEST, MODEL_IMPORTANCE}),
    Kind.UPDATE: ({UPDATE_MANIFEST, DELTA}, {UPDATE_MANIFEST, DELTA, IMPORTANCE}),
    Kind.REPORT: ({DERIVED, STATEMENT}, {DERIVED, STATEMENT}),
    Kind.STATE: ({STATE, STATE_FILES[0]}, {STATE, *STATE_FILES}),
    Kind.COMMITTEE: ({COMMITTEE}, {COMMITTEE}),
}


def is_recognized(
    source: BlockSource, cid: Cid, mentions: Collection[Mention], federations: Collection[FederationId]
) -> bool:
    """Whether what ``source`` itself has of ``cid`` is one of the kinds that the log calls it.

    Args:
        federations: Those of the contract; updates and records name theirs.

    Raises:
        StoreUnavailable: The store failed. Content that is missing, damaged or of another form is not recognized.
    """
    get = local_get(source)
    for kind in {mention.kind for mention in mentions}:
        try:
            if _is_a(kind, cid, get, federations):
                return True
        except (ArtifactRefused, BlockMissing, BlockCorrupt):
            continue
    return False


def _is_a(kind: Kind, cid: Cid, get: Get, federations: Collection[FederationId]) -> bool:
    if kind is Kind.RECORD:
        return _names_one_of(federations, read_file(cid, get, CHUNK))
    if kind is Kind.ANCHOR:
        return _begins_as_tensors(cid, get)
    links = list_directory(cid, get, MAX_ARTIFACT_BYTES)
    always, ever = _FILES[kind]
    if not always <= links.keys() <= ever:
        return False
    if kind is not Kind.UPDATE:
        return True
    return _names_one_of(federations, read_file(links[UPDATE_MANIFEST].cid, get, canonical_json.MAX_BYTES))


def _names_one_of(federations: Collection[FederationId], data: bytes) -> bool:
    value = canonical_json.loads(data)
    return isinstance(value, dict) and value.get("federation") in {hex32(one) for one in federations}


def _begins_as_tensors(cid: Cid, get: Get) -> bool:
    """Whether the file begins with a header as every weights file here has it (SPECIFICATION A4).

    Those that other programs write have another order, or metadata: whoever names one of them as a model's anchor must
    not make others let go of it.
    """
    data = b""
    for leaf in file_leaves(cid, get, MAX_ARTIFACT_BYTES):
        data += read_leaf(leaf, get)
        if len(data) >= header_bytes(data):
            break
    return bool(read_layout(data).places)
