"""Reading several open files and hashing what comes in one call of compiled code: nothing of it waits for the interpreter.

Files are read in pieces so small that those of all lanes stay in a processor's cache from the copy that the system makes
to the lanes of sha-256 (protocol/sha256_kernel.py). Without llvmlite `network.leaf_rows` does the same from Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import binding, ir

NAME = "read_and_hash"
_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_ADDRESS = _BYTE.as_pointer()

# (pread, kernel, state, pointers, width, files, rows, count, offset, length, piece) -> 0, or 1 + the row cut short
ReadAndHash = Callable[[int, int, int, int, int, int, int, int, int, int, int], int]


@cache
def read_and_hash() -> ReadAndHash:
    """Return the compiled function; raises whatever llvmlite raises where it cannot compile.

    ``u64 f(pread, kernel, state, u64 pointers[width], width, i32 files[count], u64 rows[count], count, offset, length,
    piece)`` fills ``length`` bytes of each row from its file's ``offset`` on, and takes them into the lanes of ``kernel``.
    ``length`` and ``piece`` are multiples of 64 bytes, and 1 <= count <= width. Lanes without a row repeat the first.
    """
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(_module())), machine)
    engine.finalize_object()
    _ALIVE.append(engine)
    make = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 11)  # frees the interpreter lock
    return make(engine.get_function_address(NAME))


@cache
def pread_address() -> int:
    """Return where the system's pread lies."""
    return ctypes.cast(ctypes.CDLL(None).pread, ctypes.c_void_p).value or 0


def _module() -> ir.Module:
    module = ir.Module(NAME)
    function = ir.Function(module, ir.FunctionType(_LONG, [_LONG] * 11), NAME)
    _emit(function, ir.IRBuilder(function.append_basic_block("entry")))
    return module


def _emit(function: Any, build: Any) -> None:
    """for at in 0, piece … length: fill and point each row (or return its number); let the kernel take the piece."""
    pread_at, kernel_at, state, pointers, width, files, rows, count, offset, length, piece = function.args
    pread = build.inttoptr(pread_at, ir.FunctionType(_LONG, [_INT, _ADDRESS, _LONG, _LONG]).as_pointer())
    kernel = build.inttoptr(kernel_at, ir.FunctionType(ir.VoidType(), [_LONG, _LONG, _LONG]).as_pointer())
    blocks = {
        name: function.append_basic_block(name)
        for name in ("piece", "row", "point", "spare", "repeat", "hash", "end", "cut")
    }
    entry = build.block
    build.branch(blocks["piece"])

    build.position_at_end(blocks["piece"])
    at = build.phi(_LONG)
    left = build.sub(length, at)
    size = build.select(build.icmp_unsigned("<", left, piece), left, piece)
    build.branch(blocks["row"])

    build.position_at_end(blocks["row"])
    lane = build.phi(_LONG)
    file = build.load(_element(build, files, lane, _INT, 2))
    start = build.add(build.load(_element(build, rows, lane, _LONG, 3)), at)
    found = build.call(pread, [file, build.inttoptr(start, _ADDRESS), size, build.add(offset, at)])
    build.cbranch(build.icmp_signed("==", found, size), blocks["point"], blocks["cut"])

    build.position_at_end(blocks["point"])
    build.store(start, _element(build, pointers, lane, _LONG, 3))
    following = build.add(lane, _LONG(1))
    build.cbranch(build.icmp_unsigned("<", following, count), blocks["row"], blocks["spare"])

    build.position_at_end(blocks["spare"])
    spare = build.phi(_LONG)
    build.cbranch(build.icmp_unsigned("<", spare, width), blocks["repeat"], blocks["hash"])

    build.position_at_end(blocks["repeat"])
    first = build.load(_element(build, pointers, _LONG(0), _LONG, 3))
    build.store(first, _element(build, pointers, spare, _LONG, 3))
    next_spare = build.add(spare, _LONG(1))
    build.branch(blocks["spare"])

    build.position_at_end(blocks["hash"])
    build.call(kernel, [state, pointers, build.lshr(size, _LONG(6))])
    after = build.add(at, size)
    build.cbranch(build.icmp_unsigned("<", after, length), blocks["piece"], blocks["end"])

    build.position_at_end(blocks["end"])
    build.ret(_LONG(0))
    build.position_at_end(blocks["cut"])
    build.ret(build.add(lane, _LONG(1)))

    for node, value, source in (
        (at, _LONG(0), entry),
        (at, after, blocks["hash"]),
        (lane, _LONG(0), blocks["piece"]),
        (lane, following, blocks["point"]),
        (spare, count, blocks["point"]),
        (spare, next_spare, blocks["repeat"]),
    ):
        node.add_incoming(value, source)


def _element(build: Any, array: Any, number: Any, kind: Any, log_size: int) -> Any:
    """Return a pointer to element ``number`` of the array at the address ``array``."""
    return build.inttoptr(build.add(array, build.shl(number, _LONG(log_size))), kind.as_pointer())


_ALIVE: list[object] = []  # LLVM's engines, which own the compiled code
