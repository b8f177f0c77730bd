"""Reading MNIST's files, and dealing examples to clients."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmarks.digits import allowed_classes, load_label_tasks
from benchmarks.mnist import DataMissing, deal_iid, deal_shards, load_mnist, permute_pixels
from client.data import Dataset
from protocol.errors import InvalidInput
from tests.benchmarks.mnist_files import write_mnist


def labelled(examples: int) -> Dataset:
    """Examples that know their own row."""
    y = np.random.default_rng(2).integers(0, 10, examples)
    return Dataset(np.arange(examples, dtype=np.float32)[:, np.newaxis], y)


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="train-images-idx3-ubyte") as caught:
        load_mnist(tmp_path)
    assert caught.value.exit_code == 66
    assert "RONDO_DATA" in caught.value.do


@pytest.mark.parametrize(
    "damage", [b"", b"\x1f\x8b", gzip.compress(b""), gzip.compress(b"\0\0\x08\x03" + bytes(12) + b"1")]
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    data = write_mnist(tmp_path, 20, 20)
    (data / "mnist/train-images-idx3-ubyte.gz").write_bytes(damage)
    with pytest.raises(InvalidInput):
        load_mnist(data)


def test_labels_are_no_images(tmp_path: Path) -> None:
    data = write_mnist(tmp_path, 20, 20)
    (data / "mnist/train-labels-idx1-ubyte.gz").rename(data / "mnist/train-images-idx3-ubyte.gz")
    with pytest.raises(InvalidInput, match="no idx file"):
        load_mnist(data)


def test_pixels_lie_from_0_to_1(tmp_path: Path) -> None:
    mnist = load_mnist(write_mnist(tmp_path, 30, 20))
    assert (mnist.train.x.shape, mnist.test.x.shape) == ((30, 784), (20, 784))
    assert (mnist.train.x.dtype, mnist.train.y.dtype) == (np.float32, np.int64)
    assert 0 <= mnist.train.x.min() < 0.2
    assert 0.7 < mnist.train.x.max() <= 1


def test_iid_shares_are_everything_once() -> None:
    shares = deal_iid(labelled(100), 10, np.random.default_rng(1))
    assert [len(share) for share in shares] == [10] * 10
    assert sorted(np.concatenate([share.x[:, 0] for share in shares])) == list(range(100))


def test_two_shards_are_few_labels() -> None:
    shares = deal_shards(labelled(4000), 20, 2, np.random.default_rng(1))
    assert [len(share) for share in shares] == [200] * 20
    assert sorted(np.concatenate([share.x[:, 0] for share in shares])) == list(range(4000))
    kinds = [len(set(share.y.tolist())) for share in shares]
    assert max(kinds) <= 4  # a shard of 100 of about 400 a label spans two at most
    assert sum(kinds) / len(kinds) < 3.2


def test_a_permutation_moves_every_pixel_alike() -> None:
    data = Dataset(np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros(3, np.int64))
    assert permute_pixels(data, None) is data
    moved = permute_pixels(data, np.array([2, 0, 3, 1]))
    assert moved.x.tolist() == [[2, 0, 3, 1], [6, 4, 7, 5], [10, 8, 11, 9]]


def test_digits_are_split_by_label_and_by_use() -> None:
    tasks = load_label_tasks()
    sizes = 0
    for number, (train, test) in enumerate(tasks):
        classes = set(np.flatnonzero(allowed_classes(number)))
        assert set(train.y) == set(test.y) == classes
        assert 2.5 < len(train) / len(test) < 3.5
        sizes += len(train) + len(test)
        assert not set(map(bytes, train.x)) & set(map(bytes, test.x))
    assert sizes == 1797
    assert not (allowed_classes(0) & allowed_classes(1)).any()
