"""MNIST from its four original files, and the ways that experiments hand it to clients."""

from __future__ import annotations

import argparse
import gzip
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.data import Dataset
from protocol.errors import InvalidInput, RondoError

DATA_VARIABLE = "RONDO_DATA"
DEFAULT_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_IMAGES, _LABELS = 0x803, 0x801  # idx: unsigned bytes in three dimensions and in one


class DataMissing(RondoError):
    """A data set that a benchmark needs is not on this machine."""

    exit_code = 66


@dataclass(frozen=True)
class Mnist:
    """Images as float32 of shape (examples, 784) from 0 to 1, labels int64."""

    train: Dataset
    test: Dataset


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the option ``--data``."""
    default = Path(os.environ.get(DATA_VARIABLE, DEFAULT_DATA))
    parser.add_argument(
        "--data",
        type=Path,
        default=default,
        help=f"the directory that holds mnist/*.gz (or {DATA_VARIABLE}); {default}",
    )


def load_mnist(data: Path) -> Mnist:
    """Read ``data``/mnist.

    Raises:
        DataMissing: A file is not there. InvalidInput: A file is not what its name says.
    """
    folder = data / "mnist"
    return Mnist(*(_read_part(folder, part) for part in ("train", "t10k")))


def permute_pixels(data: Dataset, order: NDArray[np.int64] | None) -> Dataset:
    """Return the same examples with their pixels in another order; None leaves them."""
    return data if order is None else Dataset(np.ascontiguousarray(data.x[:, order]), data.y)


def deal_iid(data: Dataset, clients: int, generator: np.random.Generator) -> list[Dataset]:
    """Deal ``data`` to ``clients`` in equal parts, at random."""
    rows = generator.permutation(len(data))
    return [data.take(np.sort(part)) for part in np.array_split(rows, clients)]


def deal_shards(data: Dataset, clients: int, shards: int, generator: np.random.Generator) -> list[Dataset]:
    """Sort ``data`` by label, cut it into ``clients`` x ``shards`` equal pieces and give each client ``shards`` of them.

    With two shards most clients see two digits only: the pathological split of McMahan et al. (AISTATS 2017), section 3.
    """
    pieces = np.array_split(np.argsort(data.y, kind="stable"), clients * shards)
    order = generator.permutation(len(pieces)).reshape(clients, shards)
    return [data.take(np.sort(np.concatenate([pieces[piece] for piece in row]))) for row in order]


def _read_part(folder: Path, part: str) -> Dataset:
    images = _read_idx(folder / f"{part}-images-idx3-ubyte.gz", _IMAGES)
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte.gz", _LABELS)
    return Dataset(images.reshape(len(images), -1).astype(np.float32) / np.float32(255), labels.astype(np.int64))


def _read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """Read an idx file: its magic number, one big-endian uint32 a dimension, then the bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataMissing(
            f"{path} is not there.",
            "This benchmark trains on MNIST.",
            f"Put MNIST's four .gz files there, or name their place with --data or {DATA_VARIABLE}.",
        ) from None
    except (OSError, EOFError) as error:
        raise InvalidInput(f"{path} cannot be read.", str(error), "Fetch the file again.") from None
    rank = magic & 0xFF
    header = struct.unpack_from(f">{1 + rank}I", content) if len(content) >= 4 * (1 + rank) else (0,)
    pixels = np.frombuffer(content, np.uint8, offset=min(4 * (1 + rank), len(content)))
    if header[0] != magic or pixels.size != int(np.prod(header[1:])):
        raise InvalidInput(
            f"{path} is no idx file of its kind.", "Its header and its size disagree.", "Fetch it again."
        )
    return pixels.reshape(header[1:])
