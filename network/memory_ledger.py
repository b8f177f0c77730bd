"""A chain in memory: a clock that is set, tokens, and the events of one contract. The floor under `MemoryChain`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from threading import RLock

from eth_utils.crypto import keccak

from network.chain import Receipt
from protocol.errors import InsufficientFunds
from protocol.events import Event, Logged
from protocol.replay import Replay, State
from protocol.types import Address, Hash, address

Wallet = Callable[[Hash, bytes], bool]  # whether a wallet contract calls a signature of a hash its own
CONTRACT = address("0x" + "c0ffee".rjust(40, "0"))


class MemoryLedger:
    """What several `MemoryChain`s, one for each account, share. Gas costs nothing here and is reported as 0.

    Args:
        now: Chain seconds at the beginning; time moves by `advance` alone.
        chain_id: Part of every id, as on a real chain.
        contract: The contract's address.
    """

    def __init__(
        self,
        now: int = 1_800_000_000,
        chain_id: int = 31337,
        contract: Address = CONTRACT,
    ) -> None:
        self.now, self.chain_id, self.contract = now, chain_id, contract
        self.logs: list[Logged] = []
        self.block = 0
        self.wallets: dict[Address, Wallet] = {}  # contracts that sign by EIP-1271
        self.lock = RLock()  # one transaction at a time, as on a chain
        self._balances: defaultdict[tuple[Address, Address], int] = defaultdict(int)
        self._replay = Replay(chain_id, contract)

    def advance(self, seconds: int) -> None:
        """Let ``seconds`` pass (not negative)."""
        self.advance_to(self.now + seconds)

    def advance_to(self, now: int) -> None:
        """Set the clock to ``now`` chain seconds; it never goes back."""
        assert now >= self.now, "a chain's clock does not go back"  # noqa: S101 - misuse by a test
        self.now = now

    def state(self) -> State:
        """Return the state now."""
        with self.lock:
            return self._replay.at(self.now)

    def balance_of(self, token: Address, account: Address) -> int:
        """Return the base units of ``token`` that ``account`` holds."""
        return self._balances[token, account]

    def mint(self, token: Address, account: Address, amount: int) -> None:
        """Make ``amount`` base units of ``token`` for ``account``; any address can be a token."""
        self._balances[token, account] += amount

    def transfer(self, token: Address, source: Address, target: Address, amount: int) -> None:
        """Move ``amount`` base units.

        Raises:
            InsufficientFunds: ``source`` holds less.
        """
        held = self._balances[token, source]
        if held < amount:
            raise InsufficientFunds(
                f"{source} holds {held} base units of token {token}, but {amount} are needed.",
                "The escrow of a round is taken at its launch.",
                "Send it tokens, or launch with smaller terms.",
            )
        self._balances[token, source] -= amount
        self._balances[token, target] += amount

    def commit(self, *events: Event) -> Receipt:
        """Put one transaction with these events into a block of its own."""
        self.block += 1
        transaction = Hash(bytes(keccak(self.block.to_bytes(32, "big"))))
        logged = [Logged(event, self.block, position, transaction) for position, event in enumerate(events)]
        self._replay.feed(logged)
        self.logs.extend(logged)
        return Receipt(transaction, 0, self.block)
