"""The member models of a committee, made one after another from what the content store has."""

from __future__ import annotations

from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import fetch
from processor.committee import member_model
from protocol.cid import directory_cid
from protocol.committee import CommitteeMember
from protocol.errors import ForeignAuthor, ForeignBase
from protocol.model import Model, decode_model
from protocol.types import Digest
from protocol.update import Update, decode_update


class MemberModels:
    """Makes one member's model after another; of bases it keeps the last, which a round's members share.

    Args:
        model_bytes, update_bytes: Content bytes that a base and an update have at most.
        watch: Shows how far large fetches are.
    """

    def __init__(self, store: ContentStore, *, model_bytes: int, update_bytes: int, watch: Watch = unwatched) -> None:
        self._store, self._watch = store, watch
        self._model_bytes, self._update_bytes = model_bytes, update_bytes
        self._base: tuple[Digest, Model] | None = None

    def __call__(self, member: CommitteeMember) -> Model:
        """Return the model of ``member``, exactly.

        Raises:
            BlockMissing, BlockCorrupt, StoreUnavailable: Its base or its update cannot be fetched.
            ArtifactRefused: One of them is not what the manifest says, or they do not fit each other.
        """
        base = self.base(member)
        with self._watch("member") as on_progress:
            update = decode_update(fetch(self._store, member.update, self._update_bytes, on_progress=on_progress))
        _check_member(member, update)
        return member_model(base, update)

    def base(self, member: CommitteeMember) -> Model:
        """Return the base of ``member``; raises as above."""
        if self._base is None or self._base[0] != member.base:
            self._base = None  # before the next one comes: there is memory for one
            with self._watch("base model") as on_progress:
                files = fetch(self._store, member.base, self._model_bytes, on_progress=on_progress)
            self._base = member.base, decode_model(files)
        return self._base[1]


def _check_member(member: CommitteeMember, update: Update) -> None:
    if update.base != member.base:
        raise ForeignBase(
            f"Update {directory_cid(member.update)} starts from {directory_cid(update.base)}.",
            f"The committee says that it starts from {directory_cid(member.base)}.",
            "Ask whoever published the committee.",
        )
    if update.author != member.client:
        raise ForeignAuthor(
            f"Update {directory_cid(member.update)} is of {update.author}.",
            f"The committee says that it is of {member.client}.",
            "Ask whoever published the committee.",
        )
