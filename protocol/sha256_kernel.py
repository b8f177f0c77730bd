"""Sha-256 of several messages at once, one in each lane of the vector registers, as LLVM IR.

The functions are those of FIPS 180-4 (https://doi.org/10.6028/NIST.FIPS.180-4): section 4.1.2 for Σ, σ, Ch and Maj, 6.2.2
for the schedule and the rounds, 4.2.2 and 5.3.3 for the constants. A message says nothing about another one's, so a
vector of ``width`` words, one of each message, goes through the rounds of all of them (multi-buffer hashing: Gueron and
Krasnov, "Simultaneous hashing of multiple messages", 2012, https://eprint.iacr.org/2012/371).
"""

from __future__ import annotations

import itertools
from math import isqrt
from typing import Any

from llvmlite import ir

WORDS = 16  # of 32 bits in a block
ROUNDS = 64
_MAJORITY = 0xE8  # the truth table of Maj: bit 4 a + 2 b + c

_I32, _I64 = ir.IntType(32), ir.IntType(64)

Value = Any  # an ir.Value: llvmlite tells no types
Vectors = list[Value]  # <width x i32> each


def kernel_name(width: int) -> str:
    """Return what the function of ``width`` lanes is called."""
    return f"sha256_{width}_lanes"


def kernels_ir(widths: tuple[int, ...], ternary: bool = False) -> str:
    """Return the IR of a module with one function for each of ``widths``, which are 4, 8 or 16 lanes.

    ``ternary`` is whether the processor has AVX-512's vpternlogd, for 8 and 16 lanes: any function of three bits at once.

    ``void sha256_<width>_lanes(u32 state[8][width], const u8 *messages[width], u64 blocks)`` takes ``blocks`` blocks of
    64 bytes of each message into the state, which stands as one vector for each of the eight words.
    """
    module = ir.Module("sha256_lanes")
    table = ir.GlobalVariable(module, ir.ArrayType(_I32, ROUNDS), "round_constants")
    table.global_constant, table.linkage = True, "internal"
    table.initializer = ir.Constant(table.value_type, list(round_constants()))
    for width in widths:
        _Kernel(module, table, width, ternary).emit()
    return str(module)


def initial_state() -> tuple[int, ...]:
    """Return H(0): the first 32 bits of the fractional parts of the square roots of the first 8 primes (5.3.3)."""
    return tuple(isqrt(prime << 64) & 0xFFFFFFFF for prime in _primes(8))


def round_constants() -> tuple[int, ...]:
    """Return K: the first 32 bits of the fractional parts of the cube roots of the first 64 primes (4.2.2)."""
    return tuple(_cube_root(prime << 96) & 0xFFFFFFFF for prime in _primes(ROUNDS))


def _primes(count: int) -> list[int]:
    found: list[int] = []
    for number in itertools.count(2):
        if len(found) == count:
            break
        if all(number % prime for prime in found):
            found.append(number)
    return found


def _cube_root(number: int) -> int:
    """Return the largest integer whose cube is at most ``number``."""
    root = 0
    for bit in reversed(range(number.bit_length() // 3 + 1)):
        more = root | 1 << bit
        root = more if more * more * more <= number else root
    return root


class _Kernel:
    """One function under construction.

    A block is loaded whole, a register a message, and transposed, so that each cache line is read once. The first 16
    rounds take the words as they are; the other 48 are a loop of three times 16, in which the schedule is a window of
    16 words that rolls within registers. All of it unrolled is no faster and takes twice as long to compile.
    """

    def __init__(self, module: ir.Module, table: Value, width: int, ternary: bool) -> None:
        self.width, self._table = width, table
        self.vector = ir.VectorType(_I32, width)
        lane_pointers = [self.vector.as_pointer(), _I64.as_pointer(), _I64]
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), lane_pointers), kernel_name(width))
        name = f"v{width}i32"
        three, one = [self.vector] * 3, [self.vector]
        self._rotate_left = ir.Function(module, ir.FunctionType(self.vector, three), f"llvm.fshl.{name}")
        self._swap_bytes = ir.Function(module, ir.FunctionType(self.vector, one), f"llvm.bswap.{name}")
        self._ternary = None
        if ternary:
            kind = ir.FunctionType(self.vector, [*three, _I32])
            self._ternary = ir.Function(module, kind, f"llvm.x86.avx512.pternlog.d.{32 * width}")
        self.build = ir.IRBuilder(self.function.append_basic_block("entry"))

    def emit(self) -> None:
        build, (state, messages, blocks) = self.build, self.function.args
        entry, block, done = build.block, *map(self.function.append_basic_block, ("block", "done"))
        words = [build.gep(state, [_I64(word)]) for word in range(8)]
        starts = [build.load(build.gep(messages, [_I64(lane)])) for lane in range(self.width)]
        before = [build.load(word, align=4) for word in words]
        build.cbranch(build.icmp_unsigned("==", blocks, _I64(0)), done, block)

        build.position_at_end(block)
        index, *chain = self._joined([_I64(0), *before], entry)
        after = self._compress(chain, self._transposed(starts, build.shl(index, _I64(6))))
        following = build.add(index, _I64(1))
        self._join([index, *chain], [following, *after], build.block)
        last = build.block
        build.cbranch(build.icmp_unsigned("==", following, blocks), done, block)

        build.position_at_end(done)
        result = self._joined(before, entry)
        self._join(result, after, last)
        for value, word in zip(result, words, strict=True):
            build.store(value, word, align=4)
        build.ret_void()

    # --- a block of each message ---

    def _transposed(self, starts: list[Value], offset: Value) -> Vectors:
        """Return the 16 words of the block at ``offset``, each a vector over the messages, which are read as big-endian."""
        build, words = self.build, Vectors()
        for first in range(0, WORDS, self.width):
            at = build.add(offset, _I64(4 * first))
            places = [build.inttoptr(build.add(start, at), self.vector.as_pointer()) for start in starts]
            rows = [build.call(self._swap_bytes, [build.load(place, align=1)]) for place in places]
            words += self._square_transposed(rows)
        return words

    def _square_transposed(self, rows: Vectors) -> Vectors:
        """Transpose ``width`` rows of ``width`` words: each square of 4 by 4 first, then these squares."""
        for first in range(0, self.width, 4):
            rows[first : first + 4] = self._quads_transposed(*rows[first : first + 4])
        step = 4
        while step < self.width:
            for top in (row for row in range(self.width) if not row & step):
                rows[top], rows[top + step] = self._swapped(rows[top], rows[top + step], step)
            step *= 2
        return rows

    def _quads_transposed(self, *rows: Value) -> Vectors:
        """Transpose each 4 columns of four rows by interleaving, for which there are cheap instructions (punpck)."""
        low, high = ([self._interleaved(rows[at], rows[at + 1], 1, half) for at in (0, 2)] for half in (0, 2))
        return [self._interleaved(one, other, 2, half) for one, other in (low, high) for half in (0, 2)]

    def _interleaved(self, one: Value, other: Value, size: int, half: int) -> Value:
        """Interleave words, or pairs of them, of one half of each 4 columns."""
        order: list[int] = []
        for column in range(half, self.width, 4):
            pairs = [(column, self.width + column), (column + 1, self.width + column + 1)]
            order += itertools.chain(*(pairs if size == 1 else zip(*pairs, strict=True)))
        return self._shuffled(one, other, order)

    def _swapped(self, top: Value, low: Value, step: int) -> tuple[Value, Value]:
        """Exchange what stands right in ``top`` and left in ``low``, of each ``2 * step`` columns."""
        columns = range(self.width)
        left = [column if not column & step else self.width + column - step for column in columns]
        right = [column + step if not column & step else self.width + column for column in columns]
        return self._shuffled(top, low, left), self._shuffled(top, low, right)

    def _shuffled(self, one: Value, other: Value, order: list[int]) -> Value:
        return self.build.shuffle_vector(one, other, ir.Constant(ir.VectorType(_I32, self.width), order))

    # --- the rounds ---

    def _compress(self, chain: Vectors, words: Vectors) -> Vectors:
        """Return the chaining value after one block (6.2.2)."""
        build, working = self.build, list(chain)
        constants = round_constants()
        for number in range(WORDS):
            working = self._round(working, build.add(words[number], self._repeated(constants[number])))
        before, rounds, end = build.block, *map(self.function.append_basic_block, ("rounds", "end"))
        build.branch(rounds)

        build.position_at_end(rounds)
        joined = self._joined([_I64(WORDS), *working, *words], before)
        start, working, words = joined[0], joined[1:9], joined[9:]
        for number in range(WORDS):
            self._extend(words, number)
            constant = build.load(build.gep(self._table, [_I64(0), build.add(start, _I64(number))]))
            working = self._round(working, build.add(words[number], self._spread(constant)))
        following = build.add(start, _I64(WORDS))
        self._join(joined, [following, *working, *words], rounds)
        build.cbranch(build.icmp_unsigned("==", following, _I64(ROUNDS)), end, rounds)

        build.position_at_end(end)
        return [build.add(old, new) for old, new in zip(chain, working, strict=True)]

    def _round(self, working: Vectors, word: Value) -> Vectors:
        """Return the eight working variables after one round; ``word`` is W + K."""
        build = self.build
        a, b, c, d, e, f, g, h = working
        choice = build.xor(g, build.and_(e, build.xor(f, g)))
        majority = self._majority(a, b, c)
        first = build.add(build.add(build.add(h, word), choice), self._xor(self._rotated(e, 6, 11, 25)))
        second = build.add(self._xor(self._rotated(a, 2, 13, 22)), majority)
        return [build.add(first, second), a, b, c, build.add(d, first), e, f, g]

    def _majority(self, a: Value, b: Value, c: Value) -> Value:
        """Return Maj: in one instruction, which LLVM does not find, or in four, one of which is the last round's too."""
        build = self.build
        if self._ternary is not None:
            return build.call(self._ternary, [a, b, c, _I32(_MAJORITY)])
        return build.xor(b, build.and_(build.xor(a, b), build.xor(b, c)))

    def _extend(self, words: Vectors, number: int) -> None:
        """Replace W(t-16) by W(t), in a window where W(t) stands at t modulo 16."""
        build, early, late = self.build, words[(number + 1) % WORDS], words[(number + 14) % WORDS]
        shifted = (build.lshr(early, self._repeated(3)), build.lshr(late, self._repeated(10)))
        small0 = self._xor([*self._rotated(early, 7, 18), shifted[0]])
        small1 = self._xor([*self._rotated(late, 17, 19), shifted[1]])
        sum_ = build.add(build.add(words[number], small0), words[(number + 9) % WORDS])
        words[number] = build.add(sum_, small1)

    def _rotated(self, value: Value, *rights: int) -> Vectors:
        return [self.build.call(self._rotate_left, [value, value, self._repeated(32 - right)]) for right in rights]

    def _xor(self, values: Vectors) -> Value:
        return self.build.xor(self.build.xor(values[0], values[1]), values[2])

    # --- vectors and joins ---

    def _repeated(self, number: int) -> Value:
        return ir.Constant(self.vector, [number] * self.width)

    def _spread(self, word: Value) -> Value:
        """Return a vector of ``word`` in every lane, which LLVM makes a part of the addition that reads it."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.build.insert_element(undefined, word, _I32(0))
        return self.build.shuffle_vector(one, undefined, ir.Constant(self.vector, [0] * self.width))

    def _joined(self, values: list[Value], source: Value) -> list[Value]:
        """Begin a block: return what stands for ``values`` where ``source`` was before it."""
        nodes = [self.build.phi(value.type) for value in values]
        self._join(nodes, values, source)
        return nodes

    @staticmethod
    def _join(nodes: list[Value], values: list[Value], source: Value) -> None:
        for node, value in zip(nodes, values, strict=True):
            node.add_incoming(value, source)
