"""Forged trees of blocks, and what a reader who is given one may fetch of it before it says no."""

from __future__ import annotations

import pytest

from protocol.artifact import load_directory
from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import RondoError
from protocol.types import Digest
from tests.protocol.blocks import Blocks

NAME = "weights.safetensors"
LIMIT = 100 * 1024 * 1024  # content bytes that a reader of these tests allows an artifact


def publish_forged(blocks: Blocks, file: PbLink, name: str = NAME) -> Digest:
    """Put the artifact whose one file is whatever ``file`` links to, and return its digest, as a chain would name it."""
    link = PbLink(file.cid, name, file.total_size)
    return blocks.node(Node(Kind.DIRECTORY, (link,))).cid.digest


def assert_refused(
    blocks: Blocks, digest: Digest, error: type[RondoError], why: str, *, fetched: int, limit: int = LIMIT
) -> RondoError:
    """Assert that reading the artifact ``digest`` is refused, for a reason that matches ``why``, after ``fetched`` blocks."""
    blocks.fetched.clear()
    with pytest.raises(error, match=why) as refusal:
        load_directory(digest, blocks.get, limit)
    assert len(blocks.fetched) == fetched
    return refusal.value
