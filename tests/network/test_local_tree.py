"""Files and directories on disk: Kubo's CIDs (vectors, and the real one where it is), and what is refused by name."""

from __future__ import annotations

import inspect
import io
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.local_tree import bytes_to_import, import_path
from protocol.chunks import MOST_CHUNKS
from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import FileChanged, InvalidInput
from protocol.unixfs import CHUNK, Block, Root, child_cids, import_directory, import_file
from tests.network.ipfs_command import IpfsCommand
from tests.network.kubo import IPFS, NO_IPFS
from tests.protocol.blocks import Blocks
from tests.protocol.content_patterns import MIB, write_pattern, write_tree

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors/unixfs.json").read_text())
needs_ipfs = pytest.mark.skipif(IPFS is None, reason=NO_IPFS)


def facts(path: Path, **options: bool) -> Root:
    return import_path(path, lambda block: None, **options)


@pytest.fixture(scope="module")
def ipfs(tmp_path_factory: pytest.TempPathFactory) -> IpfsCommand:
    return IpfsCommand(tmp_path_factory.mktemp("ipfs"))


def by_name(vectors: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


# What is refused


def test_what_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent cannot be read\. No such file"):
        facts(tmp_path / "absent")


@pytest.mark.parametrize("locked", ["alice", "below"])
def test_what_may_not_be_read_is_refused(locked: str) -> None:
    file = {"pattern": "zeros", "size": 3}
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        tree = write_tree(Path(place, "tree"), {"alice": file, "below/bob": file})
        (tree / locked).chmod(0o000)
        with nobody(), pytest.raises(InvalidInput, match=rf"{locked} cannot be read\. Permission denied"):
            facts(tree)
        (tree / locked).chmod(0o700)


@contextmanager
def nobody() -> Iterator[None]:
    """Have no special rights for a while: root, as which tests may run, may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("below", [False, True])
def test_what_is_no_file_is_refused_without_being_opened(below: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mallory")  # opening it would wait for ever
    with pytest.raises(InvalidInput, match=r"mallory is neither a file nor a directory\. It is a pipe"):
        facts(tmp_path if below else tmp_path / "mallory")


def test_devices_and_sockets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a device"):
        facts(Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as server:
        where = Path(tempfile.mkdtemp()) / "s"  # the path of a socket is short
        server.bind(str(where))
        with pytest.raises(InvalidInput, match="a socket"):
            facts(where)


def test_a_pipe_that_took_a_files_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"model")
    honest = os.open

    def exchanging(name: Any, flags: int, *words: Any) -> int:
        path.unlink()
        os.mkfifo(path)
        return honest(name, flags, *words)

    monkeypatch.setattr(os, "open", exchanging)
    with pytest.raises(FileChanged, match="It became a pipe"):
        facts(path)


def test_a_link_that_took_a_files_place_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"model")
    (tmp_path / "secret").write_bytes(b"secret")
    honest = os.open

    def exchanging(name: Any, flags: int, *words: Any) -> int:
        path.unlink()
        path.symlink_to("secret")
        return honest(name, flags, *words)

    monkeypatch.setattr(os, "open", exchanging)
    with pytest.raises(InvalidInput, match="cannot be read"):
        facts(path)


def test_names_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    with pytest.raises(InvalidInput, match="not UTF-8"):
        facts(tmp_path)


@pytest.mark.parametrize("vector", by_name(VECTORS["sharded"]))
def test_what_ipfs_would_hash_is_refused_by_name(vector: dict[str, Any], tmp_path: Path) -> None:
    """Kubo makes a HAMT of these (UnixFS type 5), to the byte where it begins."""
    assert vector["unixfs_type"] == 5
    place = write_tree(tmp_path / "tree", vector["entries"])
    with pytest.raises(InvalidInput, match=f"{place / vector['at']} is too large for one directory"):
        facts(place)


def test_a_huge_directory_is_refused_before_its_files_are_read(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {"first": {"pattern": "counter", "size": 9}, ".": {"empty_files": 6000, "digits": 7}})
    blocks = Blocks()
    with pytest.raises(InvalidInput, match="too large"):
        import_path(tmp_path / "tree", blocks.emit)
    assert blocks.order == []


class Meddler:
    """Changes something on disk when the first block of ``data`` passes by."""

    def __init__(self, data: bytes, change: Callable[[], object]) -> None:
        self._data, self._change = data, change

    def emit(self, block: Block) -> None:
        if block.data == self._data:
            self._data = b"done"
            self._change()


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path, size = tmp_path / "model", (MOST_CHUNKS + 2) * CHUNK  # so that it grows before the last of it is read
    path.write_bytes(bytes(size))

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FileChanged, match=rf"model changed .* It had {size} bytes, {size + 4} were read"):
        import_path(path, Meddler(bytes(CHUNK), grow).emit)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(bytes((MOST_CHUNKS + 2) * CHUNK))
    with pytest.raises(FileChanged, match="model changed"):
        import_path(path, Meddler(bytes(CHUNK), lambda: os.truncate(path, 6 * CHUNK)).emit)


def test_a_file_that_is_written_over_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(bytes(5 * CHUNK))

    def overwrite() -> None:
        with path.open("r+b") as file:
            file.write(b"x")
        os.utime(path, ns=(1, 1))  # a clock may be too coarse to show it

    with pytest.raises(FileChanged, match="model changed"):
        import_path(path, Meddler(bytes(CHUNK), overwrite).emit)


@pytest.mark.parametrize("change", ["add", "remove", "replace"])
def test_a_directory_that_changes_is_refused(change: str, tmp_path: Path) -> None:
    tree = write_tree(
        tmp_path / "tree", {"a": {"pattern": "counter", "size": 9}, "b": {"pattern": "counter", "size": 8}}
    )
    os.utime(tree, ns=(1, 1))

    def replace() -> None:
        tree.rename(tmp_path / "old")
        write_tree(tree, {"b": {}})

    changes: dict[str, Callable[[], object]] = {
        "add": (tree / "c").touch,
        "remove": (tree / "b").unlink,
        "replace": replace,
    }
    with pytest.raises(FileChanged, match="tree"):
        import_path(tree, Meddler((tree / "a").read_bytes(), changes[change]).emit)


def test_a_link_that_leads_back_is_refused_when_links_are_followed(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"a/b/back": {"symlink": "../../a"}, "x": {"pattern": "zeros", "size": 1}})
    with pytest.raises(InvalidInput, match="back leads back to a directory above it"):
        facts(tree, follow=True)
    facts(tree)


def test_a_link_to_nothing_is_refused_when_links_are_followed(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"gone": {"symlink": "nowhere"}})
    with pytest.raises(InvalidInput, match=r"gone cannot be read\. No such file"):
        facts(tree, follow=True)


# What is made


@pytest.mark.parametrize("vector", by_name(VECTORS["trees"]))
def test_trees_have_kubos_cids(vector: dict[str, Any], tmp_path: Path) -> None:
    place = write_tree(tmp_path / "tree", vector["entries"])
    root = facts(place, hidden=vector["hidden"])
    assert (str(root.cid), root.total_size) == (vector["cid"], vector["total_size"])
    if vector["hidden"] or "hidden" not in vector["name"]:
        assert root.size == sum(recipe.get("size", 0) for recipe in vector["entries"].values())


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("follow", [False, True])
def test_what_will_be_read_is_known_before(hidden: bool, follow: bool, tmp_path: Path) -> None:
    file = {"pattern": "zeros", "size": 7}
    tree = write_tree(tmp_path / "tree", {"a": file, "b/c": file, ".d/e": file, "b/.f": file, "l": {"symlink": "a"}})
    assert bytes_to_import(tree, hidden=hidden, follow=follow) == facts(tree, hidden=hidden, follow=follow).size
    assert bytes_to_import(tree / "a") == 7
    assert bytes_to_import(tree / "absent") == 0
    (tree / "back").symlink_to(".")
    assert bytes_to_import(tree, follow=True) == 21, "and it ends"


def test_a_file_alone_is_what_its_bytes_are(tmp_path: Path) -> None:
    data = bytes(2 * CHUNK + 1)
    (tmp_path / ".model").write_bytes(data)
    assert facts(tmp_path / ".model") == import_file(io.BytesIO(data), lambda block: None)


def test_a_flat_directory_is_an_artifact(tmp_path: Path) -> None:
    files = {"update.json": b"{}", "delta.safetensors": bytes(CHUNK + 1)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert facts(tmp_path) == import_directory(files, lambda block: None)


def test_a_hidden_directory_itself_is_taken(tmp_path: Path) -> None:
    seen = write_tree(
        tmp_path / ".rondo", {"a": {"pattern": "zeros", "size": 1}, ".b": {"pattern": "zeros", "size": 1}}
    )
    assert facts(seen).size == 1
    assert facts(seen, hidden=True).size == 2


def test_links_are_kept_or_followed(tmp_path: Path) -> None:
    data = {"pattern": "counter", "size": 9}
    linked = write_tree(tmp_path / "linked", {"d/a": data, "e": {"symlink": "d"}, "f": {"symlink": "d/a"}})
    copied = write_tree(tmp_path / "copied", {"d/a": data, "e/a": data, "f": data})
    assert facts(linked, follow=True) == facts(copied)
    assert facts(linked).size == 9
    assert facts(linked / "f", follow=True) == facts(linked / "d/a")
    assert facts(linked / "f").cid != facts(linked / "d/a").cid


def test_every_block_comes_after_those_it_links_to(tmp_path: Path) -> None:
    recipe = {"pattern": "counter", "size": 2 * CHUNK + 1}
    tree = write_tree(
        tmp_path / "tree", {"a/b/big": recipe, "a/small": {"pattern": "zeros", "size": 2}, "l": {"symlink": "a"}}
    )
    seen: set[Cid] = set()

    def emit(block: Block) -> None:
        assert set(child_cids(block)) <= seen
        seen.add(block.cid)

    root = import_path(tree, emit)
    assert root.cid in seen
    assert len([cid for cid in seen if cid.codec == RAW]) == 4


@contextmanager
def chain_of_directories(place: Path, deep: int) -> Iterator[Path]:
    """Directories one in another, ``deep`` of them below ``place``, and in the last a file; removed by hand, since what
    cleans up after tests recurses."""
    before = Path.cwd()
    os.chdir(place)
    for _ in range(deep):
        Path("d").mkdir()
        os.chdir("d")
    Path("leaf").write_bytes(b"x")
    os.chdir(before)
    try:
        yield place / "d"
    finally:
        os.chdir(place / "/".join("d" * deep))
        Path("leaf").unlink()
        for _ in range(deep):
            os.chdir("..")
            Path("d").rmdir()
        os.chdir(before)


def test_deeper_than_python_recurses(tmp_path: Path) -> None:
    deep, blocks = 1500, Blocks()
    before = sys.getrecursionlimit()
    with chain_of_directories(tmp_path, deep) as top:
        sys.setrecursionlimit(len(inspect.stack()) + 100)
        try:
            root = import_path(top, blocks.emit)
            expected = bytes_to_import(top)
        finally:
            sys.setrecursionlimit(before)
    depth, cid = 0, root.cid
    while children := child_cids(Block(cid, blocks.data[cid])):
        depth, cid = depth + 1, children[0]
    assert (depth, blocks.data[cid], expected) == (deep, b"x", 1)


# The real Kubo


@needs_ipfs
@pytest.mark.parametrize("vector", by_name(VECTORS["trees"]))
def test_this_kubo_agrees_with_the_vectors(vector: dict[str, Any], tmp_path: Path, ipfs: IpfsCommand) -> None:
    options = ("--hidden",) if vector["hidden"] else ()
    assert ipfs.cid(write_tree(tmp_path / "tree", vector["entries"]), *options) == vector["cid"]


@needs_ipfs
@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(
            vector, id=f"{vector['pattern']}-{vector['size']}", marks=[pytest.mark.slow] * (vector["size"] > MIB * 64)
        )
        for vector in VECTORS["files"]
    ],
)
def test_this_kubo_agrees_with_the_vectors_of_files(vector: dict[str, Any], tmp_path: Path, ipfs: IpfsCommand) -> None:
    write_pattern(tmp_path / "file", vector["pattern"], vector["size"])
    said = ipfs.cid(tmp_path / "file")
    (tmp_path / "file").unlink()
    assert said == vector["cid"]


@needs_ipfs
def test_this_kubo_agrees_with_the_vectors_of_many_levels(tmp_path: Path, ipfs: IpfsCommand) -> None:
    scaled = VECTORS["scaled"]
    layout = (f"--chunker=size-{scaled['chunk']}", f"--max-file-links={scaled['width']}")
    for vector in scaled["files"][::5]:
        write_pattern(tmp_path / "file", vector["pattern"], vector["size"])
        assert ipfs.cid(tmp_path / "file", layout=layout) == vector["cid"], vector["size"]


@needs_ipfs
@pytest.mark.parametrize("vector", by_name(VECTORS["sharded"]))
def test_this_kubo_hashes_what_is_refused(vector: dict[str, Any], tmp_path: Path, ipfs: IpfsCommand) -> None:
    """The other side of test_what_ipfs_would_hash_is_refused_by_name: neither a byte sooner nor later than Kubo."""
    place = write_tree(tmp_path / "tree", vector["entries"]) / vector["at"]
    assert ipfs.cid(place) == vector["cid"]
    links = tuple(PbLink(block_cid(RAW, b""), name, 0) for name in sorted(one.name for one in place.iterdir()))
    node = encode_node(Node(Kind.DIRECTORY, links))
    assert len(node) > 256 * 1024
    assert str(block_cid(DAG_PB, node)) != vector["cid"], "what a refusal keeps from being said"


@needs_ipfs
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 33 * CHUNK + 5])
def test_this_kubo_agrees_on_files(size: int, tmp_path: Path, ipfs: IpfsCommand) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    assert ipfs.cid(tmp_path / "file") == str(facts(tmp_path / "file").cid)


@needs_ipfs
def test_this_kubo_agrees_without_the_profile(tmp_path: Path) -> None:
    """A node that has Kubo's own defaults gives the same CIDs when `ipfs add` is told chunks and links."""
    plain = IpfsCommand(tmp_path / "ipfs", profile=None)
    tree = write_tree(
        tmp_path / "tree", {"d": {"empty_files": 5140, "digits": 7}, "e/f": {"pattern": "zeros", "size": 9}}
    )
    assert plain.cid(tree) == str(facts(tree).cid)


@needs_ipfs
def test_this_kubo_agrees_on_links(tmp_path: Path, ipfs: IpfsCommand) -> None:
    data = {"pattern": "counter", "size": 9}
    tree = write_tree(tmp_path / "tree", {"d/a": data, "e": {"symlink": "d"}, "f": {"symlink": "./d//a"}})
    (tree / "not-text").symlink_to(os.fsdecode(b"\xff/../x"))
    assert ipfs.cid(tree) == str(facts(tree).cid)
    assert ipfs.cid(tree / "f") == str(facts(tree / "f").cid), "a link that is named is added as a link"
    (tree / "not-text").unlink()
    assert ipfs.cid(tree, "--dereference-symlinks") == str(facts(tree, follow=True).cid)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)
TREES: st.SearchStrategy[Any] = st.dictionaries(
    NAMES,
    st.recursive(
        st.binary(max_size=30) | st.integers(CHUNK - 1, CHUNK + 1) | st.text("a./b", min_size=1, max_size=9),
        lambda below: st.dictionaries(NAMES, below, max_size=4),
        max_leaves=8,
    ),
    max_size=6,
)


def grow(place: Path, entries: dict[str, Any]) -> None:
    """Write bytes as files, numbers as that many zeros, texts as symbolic links and dictionaries as directories."""
    place.mkdir()
    for name, entry in entries.items():
        if isinstance(entry, dict):
            grow(place / name, entry)
        elif isinstance(entry, str):
            (place / name).symlink_to(entry)
        else:
            (place / name).write_bytes(bytes(entry))


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("garden")


@needs_ipfs
@settings(max_examples=40)
@given(entries=TREES, hidden=st.booleans())
def test_this_kubo_agrees_on_any_tree(entries: dict[str, Any], hidden: bool, garden: Path, ipfs: IpfsCommand) -> None:
    with tempfile.TemporaryDirectory(dir=garden) as place:
        tree = Path(place, "tree")
        grow(tree, entries)
        assert str(facts(tree, hidden=hidden).cid) == ipfs.cid(tree, *(("--hidden",) if hidden else ()))
