"""Sha-256 of many messages at the speed of the vector unit, and by hashlib wherever that is as good or all there is.

Each block of a store is hashed on its own, so 16 of them fit into the lanes of 512-bit registers, or 8 into those of 256
bits (protocol/sha256_kernel.py). LLVM compiles that once in a process, as soon as so much is hashed that it pays; what it
made is compared with hashlib before it is used, and where anything is amiss hashlib does all the work: digests are the
same either way, and nobody has to know. Processors with instructions for sha-256 have no need of it.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

COMPILE_AT = 128 * 1024 * 1024  # bytes; one thread of hashlib takes as long for them as LLVM for the lanes: 0.35 s
MOST_LANES = 16
_LEAST_MESSAGES = 3  # that pay: all lanes take as long whether they are used or not
_LEAST_BYTES = 64 * 1024  # of all messages together that pay for a call from Python
_BLOCK = 64  # bytes

Buffer: TypeAlias = bytes | bytearray | memoryview
Kernel: TypeAlias = Callable[[int, int, int], None]  # addresses of the state and of the pointers, number of blocks


class Lanes(NamedTuple):
    """What compiled code needs to take pieces of its own: addresses of the kernel, its state and its pointers; lanes."""

    kernel: int
    state: int
    pointers: int
    width: int


class Hashing(Protocol):
    """Messages of one length that come side by side, piece by piece."""

    @property
    def lanes(self) -> Lanes | None:
        """How compiled code takes pieces of these messages, whose pointers it sets first; None where hashlib does."""
        ...

    def update(self, pieces: Sequence[Buffer]) -> None:
        """Take the next piece of each message, all of one length, a multiple of 64 bytes."""
        ...

    def finish(self, ends: Sequence[Buffer]) -> list[bytes]:
        """Take the rest of each message, all of one length, which may be 0, and return the 32-byte digests."""
        ...


def sha256_each(buffers: Sequence[Buffer]) -> list[bytes]:
    """Return the 32-byte digest of each of ``buffers``, contiguous bytes; those of one length go through lanes together.

    The interpreter lock is free meanwhile, so several threads with buffers of their own take several cores.
    """
    digests = [b""] * len(buffers)
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    lengths: dict[int, list[int]] = {}
    for number, view in enumerate(views):
        lengths.setdefault(len(view), []).append(number)
    for length, numbers in lengths.items():
        most = max(_ENGINE.kernels(0), default=MOST_LANES)
        for at in range(0, len(numbers), most):
            some = numbers[at : at + most]
            found = side_by_side(len(some), length).finish([views[number] for number in some])
            for number, digest in zip(some, found, strict=True):
                digests[number] = digest
    return digests


def side_by_side(count: int, length: int) -> Hashing:
    """Return what hashes ``count`` messages, at most 16, of ``length`` bytes each; any one thread at a time."""
    kernels = _ENGINE.kernels(count * length)
    if count >= _LEAST_MESSAGES and count * length >= _LEAST_BYTES:
        for width in sorted(kernels):
            if width >= count:
                return _InLanes(kernels[width], width, count, length)
    return _OneByOne(count)


def together(length: int) -> int:
    """Return how many messages of ``length`` bytes are best handed over at once now: 1 where hashlib hashes them."""
    kernels = _ENGINE.kernels(0)
    return min(kernels) if kernels and min(kernels) * length >= _LEAST_BYTES else 1


def most_together(length: int) -> int:
    """Return how many messages of ``length`` bytes may be handed over at once and all be hashed side by side; as `together`."""
    kernels = _ENGINE.kernels(0)
    return max(kernels) if together(length) > 1 else 1


def prepare(size: int) -> None:
    """Say that ``size`` bytes are about to be hashed, so that the lanes are compiled now where that will pay."""
    _ENGINE.kernels(size)


def description() -> str:
    """Return what hashes large amounts in this process, for benchmarks to report; the lanes are compiled for it."""
    prepare(COMPILE_AT)
    return _ENGINE.description


class _OneByOne:
    """Messages that hashlib hashes one after another."""

    lanes = None

    def __init__(self, count: int) -> None:
        self._hashes = [hashlib.sha256() for _ in range(count)]

    def update(self, pieces: Sequence[Buffer]) -> None:
        for hash_, piece in zip(self._hashes, pieces, strict=True):
            hash_.update(piece)

    def finish(self, ends: Sequence[Buffer]) -> list[bytes]:
        self.update(ends)
        return [hash_.digest() for hash_ in self._hashes]


class _InLanes:
    """Messages in the lanes of ``kernel``; lanes that have none of their own repeat the first."""

    def __init__(self, kernel: Kernel, width: int, count: int, length: int) -> None:
        import numpy as np

        from protocol.sha256_kernel import initial_state

        self._kernel, self._count, self._length = kernel, count, length
        self._address = 0  # of the kernel, once somebody asks
        self._state = np.repeat(np.array(initial_state(), np.uint32), width).reshape(8, width)
        self._pointers = np.empty(width, np.uint64)
        self._pieces: Sequence[Buffer] = ()
        self._piece_length = 0
        self._held: list[object] = []

    @property
    def lanes(self) -> Lanes:
        self._pieces = ()  # whoever asks points elsewhere
        if not self._address:
            self._address = ctypes.cast(self._kernel, ctypes.c_void_p).value or 0  # type: ignore[arg-type] # a ctypes function
        return Lanes(self._address, self._state.ctypes.data, self._pointers.ctypes.data, len(self._pointers))

    def update(self, pieces: Sequence[Buffer]) -> None:
        if pieces is not self._pieces:  # else the same buffers were filled again
            self._point_to(pieces)
        self._kernel(self._state.ctypes.data, self._pointers.ctypes.data, self._piece_length // _BLOCK)

    def _point_to(self, pieces: Sequence[Buffer]) -> None:
        import numpy as np

        views = [np.frombuffer(piece, np.uint8) for piece in pieces]
        lengths = {view.size for view in views}
        if len(views) != self._count or len(lengths) != 1 or max(lengths) % _BLOCK:
            raise ValueError("Pieces are one for each message, of one length, a multiple of 64 bytes.")
        self._pointers[:] = views[0].ctypes.data
        self._pointers[: self._count] = [view.ctypes.data for view in views]
        self._pieces, self._piece_length = pieces, lengths.pop()
        self._held[:] = views  # addresses say nothing to the interpreter

    def finish(self, ends: Sequence[Buffer]) -> list[bytes]:
        views = [memoryview(end).cast("B") for end in ends]
        whole = len(views[0]) // _BLOCK * _BLOCK
        if whole:
            self.update([view[:whole] for view in views])
        self.update([_padded(bytes(view[whole:]), self._length) for view in views])
        return [column.tobytes() for column in self._state.T.astype(">u4")[: self._count]]


def _padded(rest: bytes, length: int) -> bytes:
    """Return the last one or two blocks of a message of ``length`` bytes that ends with ``rest`` (FIPS 180-4, 5.1.1)."""
    zeros = -(len(rest) + 9) % _BLOCK
    return rest + b"\x80" + bytes(zeros) + (8 * length).to_bytes(8, "big")


class _Engine:
    """What this process has compiled; any number of threads."""

    def __init__(self) -> None:
        self.description = "hashlib, as long as little is hashed"
        self._lock = threading.Lock()
        self._hashed = 0
        self._kernels: Mapping[int, Kernel] | None = None

    def kernels(self, size: int) -> Mapping[int, Kernel]:
        """Return the kernels by their lanes, for ``size`` more bytes; none before they pay, and where there are none."""
        if self._kernels is None:
            with self._lock:
                self._hashed += size
                if self._kernels is None and self._hashed >= COMPILE_AT:
                    self._kernels, self.description = _compile()
        return self._kernels or {}


def _compile() -> tuple[Mapping[int, Kernel], str]:
    try:
        from llvmlite import binding

        features = binding.get_host_cpu_features()
        widths, name = _widths(features)
        kernels = _load(binding, widths, features) if widths else {}
    except Exception as error:  # whatever LLVM cannot do here, hashlib can
        return {}, f"hashlib: no lanes ({type(error).__name__}: {error})"
    if not all(_agrees(kernel, width) for width, kernel in kernels.items()):
        return {}, f"hashlib: {name} gave another digest"
    return kernels, name


def _widths(features: Mapping[str, bool]) -> tuple[tuple[int, ...], str]:
    """Return how many lanes a processor's registers have that beat hashlib, and the words for it."""
    if features.get("sha") or features.get("sha2"):
        return (), "hashlib: the processor has instructions for sha-256"
    if all(features.get(name) for name in ("avx512f", "avx512bw", "avx512vl")):
        return (8, 16), "16 and 8 lanes of AVX-512"
    if features.get("avx2"):
        return (8,), "8 lanes of AVX2"
    return (), "hashlib: the processor has neither AVX2 nor AVX-512"


def _load(binding: Any, widths: tuple[int, ...], features: Any) -> dict[int, Kernel]:
    """Compile for exactly this processor, with registers as wide as the vectors."""
    from protocol.sha256_kernel import kernel_name, kernels_ir

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features.flatten(), opt=2, jit=True
    )
    ternary = MOST_LANES in widths  # only with AVX-512
    engine = binding.create_mcjit_compiler(binding.parse_assembly(kernels_ir(widths, ternary)), machine)
    engine.finalize_object()
    _ALIVE.append(engine)
    make = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)  # frees the interpreter lock
    return {width: make(engine.get_function_address(kernel_name(width))) for width in widths}


def _agrees(kernel: Kernel, width: int) -> bool:
    """Whether ``kernel`` and hashlib say the same of one message in each lane, over more than one call."""
    messages = [hashlib.shake_256(bytes([lane])).digest(5 * _BLOCK + 57) for lane in range(width)]
    hashing = _InLanes(kernel, width, width, len(messages[0]))
    hashing.update([message[:_BLOCK] for message in messages])
    found = hashing.finish([message[_BLOCK:] for message in messages])
    return found == [hashlib.sha256(message).digest() for message in messages]


_ALIVE: list[object] = []  # LLVM's engines, which own the compiled code
_ENGINE = _Engine()
