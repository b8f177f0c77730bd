"""Reading several open files and hashing what comes in one call of compiled code: nothing of it waits for the interpreter.

Files are read in pieces so small that those of all lanes stay in a processor's cache from the copy that the system makes
to the lanes of sha-256 (protocol/sha256_kernel.py), and to who takes them after that. Without llvmlite
`network.leaf_rows` does the same from Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import binding, ir

NAME = "read_and_hash"
ARGUMENTS = (
    "pread", "kernel", "state", "pointers", "width",
    "files", "rows", "stride", "count", "offset", "length", "piece",
    "sink", "context", "origin", "first",
)  # fmt: skip
_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_ADDRESS = _BYTE.as_pointer()
_BLOCKS = ("piece", "row", "fill", "point", "spare", "repeat", "hash", "pour", "next", "end", "cut")


@cache
def read_and_hash() -> Callable[..., int]:
    """Return the compiled function; raises whatever llvmlite raises where it cannot compile.

    ``u64 f(pread, kernel, state, u64 pointers[width], width, i32 files[count], u8 *rows, stride, count, offset, length,
    piece, sink, context, origin, first)``, all of 64 bits, fills ``length`` bytes of each of ``count`` rows, which lie
    ``stride`` bytes apart, from its file's ``offset`` on, unless ``pread`` is 0 and they are filled, and takes them into the lanes of ``kernel``, ``piece`` bytes at a
    time; then the ``sink`` that is not 0 takes them (protocol.content.Sink), as rows from ``first`` on of what begins
    ``origin`` bytes before the files. ``length`` and ``piece`` are multiples of 64, and 1 <= count <= width. Lanes without a
    row repeat the first. Returns 0, or 1 + the number of a row whose file was cut short: the lanes are of no use then.
    """
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(_module())), machine)
    engine.finalize_object()
    _ALIVE.append(engine)
    make = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * len(ARGUMENTS))  # frees the interpreter lock
    return make(engine.get_function_address(NAME))


@cache
def pread_address() -> int:
    """Return where the system's pread lies."""
    return ctypes.cast(ctypes.CDLL(None).pread, ctypes.c_void_p).value or 0


def _module() -> ir.Module:
    module = ir.Module(NAME)
    function = ir.Function(module, ir.FunctionType(_LONG, [_LONG] * len(ARGUMENTS)), NAME)
    blocks = {name: function.append_basic_block(name) for name in ("entry", *_BLOCKS)}
    _emit(ir.IRBuilder(blocks["entry"]), blocks, dict(zip(ARGUMENTS, function.args, strict=True)))
    return module


def _emit(build: Any, blocks: dict[str, Any], given: dict[str, Any]) -> None:
    """for at in 0, piece … length: fill and point each row (or return its number); the kernel, then the sink take them."""
    pread = build.inttoptr(given["pread"], ir.FunctionType(_LONG, [_INT, _ADDRESS, _LONG, _LONG]).as_pointer())
    kernel = build.inttoptr(given["kernel"], ir.FunctionType(ir.VoidType(), [_LONG] * 3).as_pointer())
    sink = build.inttoptr(given["sink"], ir.FunctionType(ir.VoidType(), [_LONG] * 7).as_pointer())
    build.branch(blocks["piece"])

    build.position_at_end(blocks["piece"])
    at = build.phi(_LONG)
    size = _least(build, build.sub(given["length"], at), given["piece"])
    rows = build.add(given["rows"], at)
    build.branch(blocks["row"])

    lane = _emit_rows(build, blocks, given, pread, at, size, rows)
    _emit_spare_lanes(build, blocks, given)

    build.position_at_end(blocks["hash"])
    build.call(kernel, [given["state"], given["pointers"], build.lshr(size, _LONG(6))])
    build.cbranch(build.icmp_unsigned("!=", given["sink"], _LONG(0)), blocks["pour"], blocks["next"])
    build.position_at_end(blocks["pour"])
    begin = build.add(given["origin"], build.add(given["offset"], at))
    build.call(sink, [given["context"], rows, given["stride"], given["first"], given["count"], begin, size])
    build.branch(blocks["next"])

    build.position_at_end(blocks["next"])
    after = build.add(at, size)
    build.cbranch(build.icmp_unsigned("<", after, given["length"]), blocks["piece"], blocks["end"])
    build.position_at_end(blocks["end"])
    build.ret(_LONG(0))
    build.position_at_end(blocks["cut"])
    build.ret(build.add(lane, _LONG(1)))

    _join(at, [(_LONG(0), blocks["entry"]), (after, blocks["next"])])


def _emit_rows(
    build: Any, blocks: dict[str, Any], given: dict[str, Any], pread: Any, at: Any, size: Any, rows: Any
) -> Any:
    """Fill each row and point a lane to it; return its number, for who leaves because its file is cut short."""
    build.position_at_end(blocks["row"])
    lane, start = build.phi(_LONG), build.phi(_LONG)
    build.cbranch(build.icmp_unsigned("==", given["pread"], _LONG(0)), blocks["point"], blocks["fill"])

    build.position_at_end(blocks["fill"])
    file = build.load(_element(build, given["files"], lane, _INT))
    found = build.call(pread, [file, build.inttoptr(start, _ADDRESS), size, build.add(given["offset"], at)])
    build.cbranch(build.icmp_signed("==", found, size), blocks["point"], blocks["cut"])

    build.position_at_end(blocks["point"])
    build.store(start, _element(build, given["pointers"], lane, _LONG))
    following, next_start = build.add(lane, _LONG(1)), build.add(start, given["stride"])
    build.cbranch(build.icmp_unsigned("<", following, given["count"]), blocks["row"], blocks["spare"])
    _join(lane, [(_LONG(0), blocks["piece"]), (following, blocks["point"])])
    _join(start, [(rows, blocks["piece"]), (next_start, blocks["point"])])
    return lane


def _emit_spare_lanes(build: Any, blocks: dict[str, Any], given: dict[str, Any]) -> None:
    build.position_at_end(blocks["spare"])
    spare = build.phi(_LONG)
    build.cbranch(build.icmp_unsigned("<", spare, given["width"]), blocks["repeat"], blocks["hash"])

    build.position_at_end(blocks["repeat"])
    first = build.load(_element(build, given["pointers"], _LONG(0), _LONG))
    build.store(first, _element(build, given["pointers"], spare, _LONG))
    following = build.add(spare, _LONG(1))
    build.branch(blocks["spare"])
    _join(spare, [(given["count"], blocks["point"]), (following, blocks["repeat"])])


def _least(build: Any, one: Any, other: Any) -> Any:
    return build.select(build.icmp_unsigned("<", one, other), one, other)


def _element(build: Any, array: Any, number: Any, kind: Any) -> Any:
    """Return a pointer to element ``number`` of the array of ``kind`` at the address ``array``."""
    return build.inttoptr(build.add(array, build.mul(number, _LONG(kind.width // 8))), kind.as_pointer())


def _join(node: Any, sources: list[tuple[Any, Any]]) -> None:
    for value, block in sources:
        node.add_incoming(value, block)


_ALIVE: list[object] = []  # LLVM's engines, which own the compiled code
