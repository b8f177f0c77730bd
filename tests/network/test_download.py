"""Downloads to disk: what is refused, what is kept whatever ends them, and what is never asked for twice."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.directory_store import DirectoryStore
from network.download import download, download_file, download_tree
from network.memory_store import MemoryStore
from network.reader import WINDOW, WORKERS
from network.transfer import publish
from protocol import unixfs
from protocol.cid import DAG_PB, RAW, Cid, directory_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import BlockMissing, InvalidInput, NotCanonical, StoreUnavailable, TooLarge
from protocol.unixfs import Block, block_cid, file_leaves, import_file
from tests.network.counting import HOURS, CountingSource

ROOT = Path(__file__).parent.parent.parent
CHUNK, WIDTH = 16, 4
NO_LIMIT = 2**62
MIB = 1024 * 1024


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small leaves and narrow nodes, so that small files have trees of many levels."""
    monkeypatch.setattr(unixfs, "CHUNK", CHUNK)
    monkeypatch.setattr(unixfs, "WIDTH", WIDTH)


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


def put(store: MemoryStore, data: bytes) -> Cid:
    return import_file(io.BytesIO(data), store.put_block).cid


def leaves_of(store: MemoryStore, cid: Cid) -> list[Cid]:
    return [leaf.cid for leaf in file_leaves(cid, store.get_block, NO_LIMIT)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# What is refused


@pytest.mark.usefixtures("small")
def test_more_than_the_limit_leaves_no_trace(tmp_path: Path) -> None:
    store = MemoryStore()
    for cid in (put(store, content(1000)), directory_cid(publish(store, {"a": content(1000), "b": b"x"}))):
        source = CountingSource(store)
        with pytest.raises(TooLarge):
            download(source, cid, tmp_path / "model", limit=999)
        assert not source.leaves and names(tmp_path) == set()


@pytest.mark.usefixtures("small")
def test_what_is_there_and_is_something_else_is_not_overwritten(tmp_path: Path) -> None:
    store = MemoryStore()
    file, tree = put(store, content(100)), directory_cid(publish(store, {"a": b"x"}))
    (tmp_path / "thesis").write_text("years of work")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("thesis")
    source = CountingSource(store)
    for name in ("thesis", "folder", "link"):
        for cid, fetch in ((file, download_file), (tree, download_tree)):
            with pytest.raises(InvalidInput, match=f"{name} exists"):
                fetch(source, cid, tmp_path / name, limit=NO_LIMIT)
    assert not source.asked and names(tmp_path) == {"thesis", "folder", "link"}
    assert (tmp_path / "thesis").read_text() == "years of work"


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_something_else_in_the_place_of_the_part_is_left_alone(kind: str, tmp_path: Path) -> None:
    store = MemoryStore()
    part, victim = tmp_path / "model.part", tmp_path / "victim"
    victim.write_text("untouched")
    {"folder": part.mkdir, "link": lambda: part.symlink_to("victim"), "pipe": lambda: os.mkfifo(part)}[kind]()
    with pytest.raises(InvalidInput, match=r"model\.part is in the way"):
        download_file(store, put(store, content(100)), tmp_path / "model", limit=NO_LIMIT)
    assert victim.read_text() == "untouched" and names(tmp_path) == {"model.part", "victim"}


def test_a_file_in_the_place_of_the_part_folder_is_left_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "model.part").write_text("untouched")
    with pytest.raises(InvalidInput, match=r"model\.part is in the way"):
        download_tree(store, directory_cid(publish(store, {"a": b"x"})), tmp_path / "model", limit=NO_LIMIT)
    assert (tmp_path / "model.part").read_text() == "untouched"


def test_a_folder_inside_a_part_folder_is_left_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "model.part" / "mine").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="mine is in the way"):
        download_tree(store, directory_cid(publish(store, {"a": b"x"})), tmp_path / "model", limit=NO_LIMIT)
    assert (tmp_path / "model.part" / "mine").is_dir()


@pytest.mark.parametrize("lie", [-1, 1])
@pytest.mark.parametrize("size", [100, CHUNK])
@pytest.mark.usefixtures("small")
def test_a_directory_that_says_another_size_is_refused(lie: int, size: int, tmp_path: Path) -> None:
    store = MemoryStore()
    root = import_file(io.BytesIO(content(size)), store.put_block)
    total = root.total_size + lie
    if root.cid.codec == RAW and lie > 0:
        total = 1  # more than a leaf is refused before, when the directory is listed
    data = encode_node(Node(Kind.DIRECTORY, (PbLink(root.cid, "a", total),)))
    store.put_block(Block(block_cid(DAG_PB, data), data))
    with pytest.raises(NotCanonical, match=str(root.cid)):
        download_tree(store, block_cid(DAG_PB, data), tmp_path / "model", limit=NO_LIMIT)
    assert not (tmp_path / "model").exists()


def test_no_folder_to_put_it_in_is_the_systems_no(tmp_path: Path) -> None:
    store = MemoryStore()
    with pytest.raises(FileNotFoundError):
        download_file(store, put(store, b"x"), tmp_path / "absent" / "model", limit=NO_LIMIT)


# What is kept


@pytest.mark.usefixtures("small")
def test_what_came_is_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    store = MemoryStore()
    data = content(100 * CHUNK)
    cid = put(store, data)
    leaves = leaves_of(store, cid)
    broken = CountingSource(store, withheld=[leaves[60]])
    with pytest.raises(BlockMissing) as caught:
        download_file(broken, cid, tmp_path / "model", limit=NO_LIMIT)
    assert caught.value.cid == str(leaves[60])
    assert names(tmp_path) == {"model.part"}
    whole = CountingSource(store)
    told: list[int] = []
    size = download_file(whole, cid, tmp_path / "model", limit=NO_LIMIT, on_progress=lambda done, _: told.append(done))
    assert size == len(data) and (tmp_path / "model").read_bytes() == data and names(tmp_path) == {"model"}
    assert (broken.leaves & whole.leaves).total() <= WINDOW and whole.leaves.total() <= 40 + WINDOW
    assert told[-1] == len(data) and len(told) == 100


@pytest.mark.usefixtures("small")
def test_what_came_in_time_is_kept(tmp_path: Path) -> None:
    store = MemoryStore()
    cid = put(store, content(100 * CHUNK))
    slow = CountingSource(store, delays=dict.fromkeys(leaves_of(store, cid)[70:], HOURS), obeys=False)
    with pytest.raises(StoreUnavailable, match="within 1 seconds"):
        download_file(slow, cid, tmp_path / "model", limit=NO_LIMIT, seconds=1)
    again = CountingSource(store)
    download_file(again, cid, tmp_path / "model", limit=NO_LIMIT)
    assert 30 <= again.leaves.total() <= 30 + WINDOW


@pytest.mark.usefixtures("small")
def test_a_whole_download_asks_nobody_again(tmp_path: Path) -> None:
    store = MemoryStore()
    for name, cid in (
        ("file", put(store, content(1000))),
        ("tree", directory_cid(publish(store, {"a": content(1000), ".b": b""}))),
    ):
        first = download(store, cid, tmp_path / name, limit=NO_LIMIT)
        source = CountingSource(store)
        fetch = download_file if name == "file" else download_tree
        assert fetch(source, cid, tmp_path / name, limit=NO_LIMIT) == first
        assert not source.asked
    assert names(tmp_path) == {"file", "tree"}


@pytest.mark.usefixtures("small")
def test_a_tree_goes_on_where_it_ended_and_appears_whole(tmp_path: Path) -> None:
    store = MemoryStore()
    files = {"delta": content(50 * CHUNK), "empty": b"", "update.json": b"{}", "weights": content(50 * CHUNK, 2)}
    cid = directory_cid(publish(store, files))
    last = leaves_of(store, put(store, files["weights"]))[-1]
    broken = CountingSource(store, withheld=[last])
    with pytest.raises(BlockMissing):
        download_tree(broken, cid, tmp_path / "model", limit=NO_LIMIT)
    assert names(tmp_path) == {"model.part"}
    (tmp_path / "model.part" / "of another artifact").write_bytes(b"left behind")
    whole = CountingSource(store)
    assert download_tree(whole, cid, tmp_path / "model", limit=NO_LIMIT) == sum(map(len, files.values()))
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == files
    assert names(tmp_path) == {"model"}
    assert whole.leaves.total() <= 2 + WINDOW, "the small files are their own top, the rest was there"


def bent(data: bytes) -> dict[str, bytes]:
    """What may lie in a part: nothing, the beginning, other bytes, the same bytes moved, damage, more than there is."""
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    return {
        "nothing": b"",
        "a beginning": data[: len(data) // 3],
        "other bytes": content(len(data), 9),
        "moved": b"x" + data,
        "damaged": bytes(damaged),
        "longer": data + content(500),
        "zeros": bytes(len(data)),
    }


@pytest.mark.parametrize("kind", bent(b"x"))
@pytest.mark.usefixtures("small")
def test_a_part_of_something_else_does_no_harm(kind: str, tmp_path: Path) -> None:
    store = MemoryStore()
    data = content(300)
    (tmp_path / "model.part").write_bytes(bent(data)[kind])
    download_file(store, put(store, data), tmp_path / "model", limit=NO_LIMIT)
    assert (tmp_path / "model").read_bytes() == data


def test_only_the_damaged_leaf_is_fetched_again(tmp_path: Path) -> None:
    store = MemoryStore()
    data = content(5 * MIB + 5)
    cid = put(store, data)
    damaged = bytearray(data)
    damaged[2 * MIB + 7] ^= 1
    (tmp_path / "model.part").write_bytes(bytes(damaged))
    source = CountingSource(store)
    download_file(source, cid, tmp_path / "model", limit=NO_LIMIT)
    assert list(source.leaves) == [leaves_of(store, cid)[2]]
    assert (tmp_path / "model").read_bytes() == data


# Full disks, killed processes, two at once


def run(script: str, *arguments: object) -> list[str]:
    prologue = """
        import errno, os, sys, time
        from pathlib import Path
        from network.directory_store import DirectoryStore
        from network.download import download_file
        from protocol.cid import parse_cid
        from tests.network.counting import CountingSource
        """
    return [sys.executable, "-c", textwrap.dedent(prologue) + textwrap.dedent(script), *map(str, arguments)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def on_disk(place: Path, data: bytes) -> tuple[DirectoryStore, Cid]:
    store = DirectoryStore(place)
    with_root: list[Block] = []
    cid = import_file(io.BytesIO(data), with_root.append).cid
    store.put_blocks(with_root)
    return store, cid


FULL = """
    store, cid, place = DirectoryStore(Path(sys.argv[1])), parse_cid(sys.argv[2]), Path(sys.argv[3])
    other = place / "other"
    other.write_bytes(bytes(5 << 20))
    try:
        download_file(store, cid, place / "model", limit=1 << 30)
    except OSError as error:
        assert error.errno == errno.ENOSPC and error.filename == str(place / "model.part"), error
    else:
        raise AssertionError("it found room")
    assert {path.name for path in place.iterdir()} == {"other", "model.part"}
    other.unlink()
    source = CountingSource(store)
    assert download_file(source, cid, place / "model", limit=1 << 30) == 6 << 20
    assert 3 <= source.leaves.total() <= 5, source.leaves
    (place / "model").unlink()

    disk, other = os.statvfs(place), place / "other"  # now the last write of all finds half of the room that it needs
    other.write_bytes(bytes(disk.f_bavail * disk.f_frsize - (3 << 19)))
    try:
        download_file(store, parse_cid(sys.argv[4]), place / "small", limit=1 << 30)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    else:
        raise AssertionError("it found room")
    """


def can_mount() -> bool:
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not can_mount(), reason="may not mount a small disk")
def test_a_full_disk_is_said_and_room_lets_it_go_on(tmp_path: Path) -> None:
    _, cid = on_disk(tmp_path / "store", content(6 * MIB))
    _, small = on_disk(tmp_path / "store", content(2 * MIB, 2))
    place = tmp_path / "disk"
    place.mkdir()
    mount = 'mount -t tmpfs -o size=8m tmpfs "$1" && shift && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(place), *run(FULL, tmp_path / "store", cid, place, small)]
    subprocess.run(command, check=True, cwd=ROOT, env=ENVIRONMENT, timeout=60)


KILLED = """
    class Noting(CountingSource):
        def get_block(self, cid, seconds=None):
            os.write(notes, f"{cid}\\n".encode())
            return super().get_block(cid, seconds)

    store, cid, path = DirectoryStore(Path(sys.argv[1])), parse_cid(sys.argv[2]), Path(sys.argv[3])
    notes = os.open(sys.argv[4], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    download_file(Noting(store, 0.02), cid, path, limit=1 << 30)
    """


@pytest.mark.slow
def test_kill_9_at_any_moment_costs_a_window_at_most(tmp_path: Path) -> None:
    leaves = 80
    data = content(leaves * MIB)
    _, cid = on_disk(tmp_path / "store", data)
    notes, moments, kills = tmp_path / "notes", random.Random(7), 0  # noqa: S311
    while True:
        before = notes.stat().st_size if notes.exists() else 0
        arguments = tmp_path / "store", cid, tmp_path / "model", notes
        process = subprocess.Popen(run(KILLED, *arguments), cwd=ROOT, env=ENVIRONMENT)
        while process.poll() is None and not (notes.exists() and notes.stat().st_size > before + len(f"{cid}\n")):
            time.sleep(0.001)  # until it asks for a leaf: what it has is hashed by then
        try:
            assert process.wait(moments.uniform(0.0, 0.12)) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if (tmp_path / "model").exists():
                break  # it was whole, and the process only had to end
            kills += 1
    assert (tmp_path / "model").read_bytes() == data and kills >= 2
    assert names(tmp_path) == {"store", "notes", "model"}
    asked = Counter(name for name in notes.read_text().split() if name != str(cid))
    assert len(asked) == leaves
    assert asked.total() - leaves <= kills * WINDOW


def test_two_processes_at_one_path_fetch_it_once(tmp_path: Path) -> None:
    data = content(30 * MIB)
    _, cid = on_disk(tmp_path / "store", data)
    arguments = tmp_path / "store", cid, tmp_path / "model", tmp_path / "notes"
    both = [subprocess.Popen(run(KILLED, *arguments), cwd=ROOT, env=ENVIRONMENT) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "model").read_bytes() == data and names(tmp_path) == {"store", "notes", "model"}
    assert len((tmp_path / "notes").read_text().split()) == 31


@pytest.mark.usefixtures("small")
def test_threads_with_different_content_at_one_path_give_one_of_them(tmp_path: Path) -> None:
    store = MemoryStore()
    contents = [content(1000, seed) for seed in range(4)]
    cids = [put(store, data) for data in contents]
    outcomes: list[object] = []

    def fetch(cid: Cid) -> None:
        try:
            outcomes.append(download_file(CountingSource(store, 0.001), cid, tmp_path / "model", limit=NO_LIMIT))
        except InvalidInput as error:
            outcomes.append(error.what)

    threads = [threading.Thread(target=fetch, args=(cid,)) for cid in cids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [1000] + [f"{tmp_path / 'model'} exists."] * 3
    assert (tmp_path / "model").read_bytes() in contents and names(tmp_path) == {"model"}


@pytest.mark.usefixtures("small")
def test_who_waits_for_another_waits_as_long_as_it_may(tmp_path: Path) -> None:
    store = MemoryStore()
    cid = put(store, content(1000))
    first = leaves_of(store, cid)[0]
    held = CountingSource(store, delays={first: 1.0})
    slow = threading.Thread(target=download_file, args=(held, cid, tmp_path / "model"), kwargs={"limit": NO_LIMIT})
    slow.start()
    while not held.leaves:
        time.sleep(0.001)
    source = CountingSource(store)
    with pytest.raises(InvalidInput, match="Another process"):
        download_file(source, cid, tmp_path / "model", limit=NO_LIMIT, seconds=0.2)
    assert download_file(source, cid, tmp_path / "model", limit=NO_LIMIT) == 1000
    assert not source.asked
    slow.join()


@pytest.mark.usefixtures("small")
def test_who_waits_for_one_that_gets_nothing_does_it_itself(tmp_path: Path) -> None:
    store = MemoryStore()
    cid = put(store, content(1000))
    nothing = CountingSource(store, withheld=leaves_of(store, cid), delays=dict.fromkeys(leaves_of(store, cid), 0.5))
    errors: list[Exception] = []

    def fail() -> None:
        try:
            download_file(nothing, cid, tmp_path / "model", limit=NO_LIMIT)
        except BlockMissing as error:
            errors.append(error)

    first = threading.Thread(target=fail)
    first.start()
    while not nothing.leaves:
        time.sleep(0.001)
    assert download_file(store, cid, tmp_path / "model", limit=NO_LIMIT) == 1000
    first.join()
    assert errors and names(tmp_path) == {"model"}


# What is fetched


def test_any_file_and_any_part_of_it(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixfs, "CHUNK", CHUNK)
    monkeypatch.setattr(unixfs, "WIDTH", WIDTH)

    @given(st.integers(0, CHUNK * WIDTH**3 + CHUNK), st.integers(0, 3), st.binary(max_size=200))
    def check(size: int, seed: int, garbage: bytes) -> None:
        place = tmp_path_factory.mktemp("any")
        store, data = MemoryStore(), content(size, seed)
        cid = put(store, data)
        (place / "model.part").write_bytes(data[: size // 2] + garbage)
        source = CountingSource(store)
        assert download(source, cid, place / "model", limit=size) == size
        assert (place / "model").read_bytes() == data and names(place) == {"model"}
        assert max(source.asked.values()) == 1
        shutil.rmtree(place)

    check()


@pytest.mark.parametrize("kind", [download, download_tree])
def test_trees_of_real_leaves(kind: Callable[..., int], tmp_path: Path) -> None:
    store = MemoryStore()
    files = {"a": b"", "b": content(3 * MIB + 1), "c": b"{}", "d": content(MIB, 2)}
    source = CountingSource(store, 0.01)
    kind(source, directory_cid(publish(store, files)), tmp_path / "artifact", limit=NO_LIMIT)
    assert {path.name: path.read_bytes() for path in (tmp_path / "artifact").iterdir()} == files
    assert 1 < source.most_busy <= WORKERS
    assert max(source.asked.values()) == 1


def test_an_empty_artifact_and_an_empty_file(tmp_path: Path) -> None:
    store = MemoryStore()
    assert download(store, directory_cid(publish(store, {})), tmp_path / "artifact", limit=0) == 0
    assert download(store, put(store, b""), tmp_path / "file", limit=0) == 0
    assert (tmp_path / "artifact").is_dir() and (tmp_path / "file").read_bytes() == b""


def test_a_command_that_is_left_ends_although_the_source_hangs(tmp_path: Path) -> None:
    data = content(4 * MIB)
    _, cid = on_disk(tmp_path / "store", data)
    script = f"""
    source = CountingSource(DirectoryStore(Path(sys.argv[1])), {HOURS}, delays={{parse_cid(sys.argv[2]): 0}}, obeys=False)
    download_file(source, parse_cid(sys.argv[2]), Path(sys.argv[3]), limit=1 << 30, seconds=0.3)
    """
    command = run(script, tmp_path / "store", cid, tmp_path / "model")
    done = subprocess.run(command, check=False, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "StoreUnavailable" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_400_mb_need_memory_for_a_few_blocks(tmp_path: Path) -> None:
    pattern = content(MIB)
    blocks: list[Block] = []
    store = DirectoryStore(tmp_path / "store")

    class Pattern(io.RawIOBase):
        """400 MiB, no two alike."""

        number = 0

        def read(self, size: int = -1) -> bytes:
            self.number += 1
            return self.number.to_bytes(8, "big") + pattern[8:] if self.number <= 400 else b""

    def emit(block: Block) -> None:
        blocks.append(block)
        if len(blocks) == 16:
            store.put_blocks(blocks)
            blocks.clear()

    cid = import_file(Pattern(), emit).cid  # type: ignore[arg-type]
    store.put_blocks(blocks)
    script = """
    def peak():  # of this program; ru_maxrss would be at least that of the process that started it
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    before = peak()
    assert download_file(DirectoryStore(Path(sys.argv[1])), parse_cid(sys.argv[2]), Path(sys.argv[3]), limit=1 << 30) == 400 << 20
    print(peak() - before)
    """
    command = run(script, tmp_path / "store", cid, tmp_path / "model")
    done = subprocess.run(command, check=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert 0 < int(done.stdout) < 60 * 1024  # KiB
    assert (tmp_path / "model").stat().st_size == 400 * MIB
