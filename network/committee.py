"""A committee's manifest out of a content store."""

from __future__ import annotations

from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import fetch
from protocol.committee import MAX_COMMITTEE_BYTES, CommitteeManifest, decode_committee
from protocol.types import Digest


def load_committee(store: ContentStore, digest: Digest, watch: Watch = unwatched) -> CommitteeManifest:
    """Return the committee ``digest``.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: It cannot be fetched. ArtifactRefused: It is none.
    """
    with watch("committee") as on_progress:
        return decode_committee(fetch(store, digest, MAX_COMMITTEE_BYTES, on_progress=on_progress))
