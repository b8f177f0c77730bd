"""Loading artifacts: whole, verified, canonical; a second tree for the same files is refused."""

from __future__ import annotations

import pytest

from protocol.artifact import check_leaves, load_directory
from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, NotCanonical, TooLarge
from protocol.types import Digest
from protocol.unixfs import CHUNK, Block, Leaf, file_leaves, import_directory, list_directory

FILES = {"update.json": b"{}", "delta.safetensors": bytes(range(256)) * 4097}
SIZE = sum(map(len, FILES.values()))


class Blocks(dict[Cid, bytes]):
    """A dictionary of blocks."""

    def emit(self, block: Block) -> None:
        self[block.cid] = block.data

    def get_block(self, cid: Cid) -> bytes:
        if cid not in self:
            raise BlockMissing(str(cid))
        return self[cid]

    def put(self, codec: int, data: bytes) -> Cid:
        cid = block_cid(codec, data)
        self[cid] = data
        return cid

    def directory(self, *links: PbLink) -> Digest:
        return self.put(DAG_PB, encode_node(Node(Kind.DIRECTORY, links))).digest


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


@pytest.fixture
def digest(blocks: Blocks) -> Digest:
    return import_directory(FILES, blocks.emit).cid.digest


def test_refuses_what_is_no_digest(blocks: Blocks) -> None:
    with pytest.raises(InvalidInput):
        load_directory(Digest(b"short"), blocks.get_block, 100)


def test_every_block_is_needed_and_verified(blocks: Blocks, digest: Digest) -> None:
    for cid, data in list(blocks.items()):
        blocks[cid] = data + b"!"
        with pytest.raises(BlockCorrupt, match=str(cid)):
            load_directory(digest, blocks.get_block, SIZE)
        del blocks[cid]
        with pytest.raises(BlockMissing, match=str(cid)):
            load_directory(digest, blocks.get_block, SIZE)
        blocks[cid] = data


def test_refuses_more_than_the_limit(blocks: Blocks, digest: Digest) -> None:
    del blocks[block_cid(RAW, FILES["update.json"])]  # so asking for a leaf would show
    with pytest.raises(TooLarge):
        load_directory(digest, blocks.get_block, SIZE - 1)


def test_refuses_a_small_file_of_another_size_than_its_link_says(blocks: Blocks) -> None:
    leaf = blocks.put(RAW, b"alice")
    for said in (0, 4, 6, CHUNK):
        digest = blocks.directory(PbLink(leaf, "a", said))
        with pytest.raises(NotCanonical, match="another digest"):
            load_directory(digest, blocks.get_block, CHUNK)


def test_refuses_a_large_file_whose_link_lies_of_its_total(blocks: Blocks) -> None:
    root = import_directory({"a": bytes(CHUNK + 1)}, blocks.emit)
    file = next(cid for cid in blocks if cid.codec == DAG_PB and cid != root.cid)
    honest = root.total_size - len(blocks[root.cid])
    assert blocks.directory(PbLink(file, "a", honest)) == root.cid.digest
    with pytest.raises(NotCanonical, match="another digest"):
        load_directory(blocks.directory(PbLink(file, "a", honest - 1)), blocks.get_block, 2 * CHUNK)


def test_loads_what_was_imported(blocks: Blocks, digest: Digest) -> None:
    assert load_directory(digest, blocks.get_block, SIZE) == FILES


def test_loads_the_empty_directory(blocks: Blocks) -> None:
    digest = import_directory({}, blocks.emit).cid.digest
    assert load_directory(digest, blocks.get_block, 0) == {}


def test_leaves_stand_for_the_content(blocks: Blocks) -> None:
    digest = import_directory(FILES, blocks.emit).cid.digest
    links = list_directory(Cid(DAG_PB, digest), blocks.get_block, SIZE)
    files = {name: list(file_leaves(link.cid, blocks.get_block, SIZE)) for name, link in links.items()}
    check_leaves(digest, files)
    check_leaves(digest, dict(reversed(files.items())))
    first, last = files["delta.safetensors"]
    for wrong in ([first], [last, first], [first, Leaf(last.cid, last.offset, last.size - 1)], [first, last, last]):
        with pytest.raises(NotCanonical, match="imported again have another digest"):
            check_leaves(digest, {**files, "delta.safetensors": wrong})
    with pytest.raises(NotCanonical):
        check_leaves(digest, {"delta.safetensors": [first, last]})
