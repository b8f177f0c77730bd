"""A tiny MNIST in the four original files: two strokes of noise a class, enough to learn from."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    """Write ``values`` as a gzipped idx file of unsigned bytes."""
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), 1))


def write_mnist(data: Path, train: int, test: int) -> Path:
    """Write so many examples under ``data``/mnist; return ``data``."""
    folder = data / "mnist"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    shapes = generator.integers(0, 2, (10, 28, 28)) * 200
    for part, many in (("train", train), ("t10k", test)):
        labels = generator.integers(0, 10, many)
        images = np.clip(shapes[labels] + generator.integers(0, 40, (many, 28, 28)), 0, 255)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images.astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
    return data
