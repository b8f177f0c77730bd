"""Brings this version's contract to a chain, once: whatever was killed in between or runs at the same time.

Where the chain has the factory, the address is known beforehand, so the chain itself says whether there is anything left
to do. Elsewhere an ordinary transaction creates the contract; then the address book remembers it, and where that is lost
the addresses are looked at which the account's last transactions could have created.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import Timeout

from network.address_book import AddressBook, Entry
from network.answer_codec import Mined
from network.contract_abi import load_contract
from network.contract_code import CONTRACT, Kind, Verdict, judge, require_ours
from network.factory import FACTORY, FACTORY_CODE, created_address, creation_code, deterministic_address, factory_call
from network.locate import first_block
from network.revert_codec import RevertCodec
from network.rpc import Refused, Rpc
from network.sender import Sender
from protocol.errors import ChainUnavailable, DeploymentFailed, InvalidInput, TransactionReverted
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

# TLOAD and MCOPY, as a contract's creation that is only tried: they came with Cancun. Without them the contract can be
# created, and every call that moves money fails.
PROBE = bytes.fromhex("5f5c505f5f5f5e00")
LOOK_BACK = 64  # transactions of the account, for a contract that an earlier run created and did not write down
PATIENCE_SECONDS = 180  # for a block to take another run's transaction
LAG_SECONDS = 10  # a cluster's node may not have the block yet whose receipt another one gave


@dataclass(frozen=True)
class Deployment:
    """This version's contract on a chain.

    Attributes:
        chain_id: The chain.
        contract: Its address.
        transaction: What this run sent to create it; None where it was there already.
        block: The block that has its creation, None where unknown.
        gas_used: Gas of ``transaction``.
    """

    chain_id: int
    contract: Address
    transaction: Hash | None = None
    block: int | None = None
    gas_used: int | None = None

    @property
    def deterministic(self) -> bool:
        """Whether it has the address that this version has on every chain with the factory."""
        return self.contract == deterministic_address()


@dataclass(frozen=True)
class _Site:
    """A chain to deploy on, by one run."""

    rpc: Rpc
    chain_id: int
    book: AddressBook
    confirmations: int
    say: Callable[[str], None]

    def has(self, place: Address, *, pending: bool = False) -> bool:
        """Whether this version's contract is at ``place``, or will be once the pool's transactions are in a block."""
        return judge(self.rpc.code(place, pending=pending), self.chain_id, place).is_ours

    def await_contract(self, place: Address, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.has(place):
            if time.monotonic() > deadline:
                raise ChainUnavailable(
                    f"Chain {self.chain_id} still has no contract at {place}, though a transaction creates it.",
                    "The chain is busy or has stopped, or its nodes lag behind each other.",
                    "Run it again: what is there by then is not created twice.",
                )
            time.sleep(0.2)


def ensure_contract(
    url: str,
    open_key: Callable[[], LocalAccount],
    book: AddressBook,
    *,
    chain_id: int | None = None,
    confirmations: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Deployment:
    """Return this version's contract on the node's chain; create it where it is not there yet, and write it down.

    Args:
        url: The node.
        open_key: Opens the account that pays; called only where something may have to be sent.
        book: Where the deployment is written down.
        chain_id: What the chain must be; any where None.
        confirmations: Blocks to wait for on top of the transaction's own.
        say: Takes lines for the person who waits.

    Raises:
        InvalidInput: The node serves another chain.
        InsufficientFunds: The account cannot pay the gas.
        DeploymentFailed: The chain does not create the contract.
        ChainUnavailable: The node does not answer, or no block took the transaction in time.
        SettingsError: The address book is none.
    """
    rpc = Rpc(url, RevertCodec(load_contract(CONTRACT).abi))
    site = _Site(rpc, _require_chain(rpc, chain_id), book, confirmations, say)
    with _alone(site):
        deployment = _written_down(site) or _created(site, open_key())
        _write_down(site, deployment)
    return deployment


@dataclass(frozen=True)
class Examined:
    """What was found at an address."""

    url: str
    chain_id: int
    contract: Address
    code: bytes

    @property
    def verdict(self) -> Verdict:
        """What the code is."""
        return judge(self.code, self.chain_id, self.contract)

    def require(self) -> None:
        """Raise InvalidInput where there is nothing, ForeignContract where there is something else."""
        require_ours(self.code, self.chain_id, self.contract, self.url)


def examine(url: str, contract: Address, chain_id: int | None = None) -> Examined:
    """Look at the code at ``contract``. Raises InvalidInput where the chain is not ``chain_id``, and ChainUnavailable."""
    rpc = Rpc(url, RevertCodec([]))
    return Examined(url, _require_chain(rpc, chain_id), contract, rpc.code(contract))


def _require_chain(rpc: Rpc, expected: int | None) -> int:
    found = rpc.chain_id()
    if expected not in (None, found):
        raise InvalidInput(
            f"The node at {rpc.url} serves chain {found}, not chain {expected}.",
            "A contract on the wrong chain costs gas and serves nobody.",
            "Name a node of the right chain by --rpc or RONDO_CHAIN_URL, or another --chain-id.",
        )
    return found


@contextmanager
def _alone(site: _Site) -> Iterator[None]:
    lock = site.book.deploying(site.chain_id)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        site.say("Another run deploys on this chain; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _written_down(site: _Site) -> Deployment | None:
    """Return the contract where the chain has it at an address that is known."""
    entries = site.book.find(site.chain_id)
    place = deterministic_address()
    known = next((entry for entry in entries if entry.address == place), Entry(place))
    for entry in [known, *(entry for entry in entries if entry.address != place)]:
        if site.has(entry.address):
            return Deployment(site.chain_id, entry.address, block=first_block(site.rpc, entry) or None)
    return None


def _write_down(site: _Site, deployment: Deployment) -> None:
    block = None if deployment.block is None else site.rpc.block(deployment.block)
    entry = Entry(deployment.contract, block.number, block.hash) if block else Entry(deployment.contract)
    site.book.record(site.chain_id, entry)


def _created(site: _Site, key: LocalAccount) -> Deployment:
    _require_cancun(site)
    obstacle = _obstacle(site)
    sender = Sender(site.rpc, key, site.chain_id, confirmations=site.confirmations, say=site.say)
    if obstacle is None:
        return _through_factory(site, sender)
    site.say(
        f"warning: {obstacle} The contract gets an address of its own here, by an ordinary transaction of "
        f"{sender.address}: not {deterministic_address()}, which this version has on chains with the factory."
    )
    return _by_account(site, sender)


def _require_cancun(site: _Site) -> None:
    try:
        site.rpc.call({"data": PROBE})
    except (TransactionReverted, Refused) as error:
        raise DeploymentFailed(
            f"Chain {site.chain_id} cannot run the contract: it lacks the Cancun upgrade's instructions.",
            error.what,
            "Use a chain that has them.",
        ) from error


def _obstacle(site: _Site) -> str | None:
    """Say why the deterministic address is out of reach on this chain; None where it is not."""
    code = site.rpc.code(FACTORY)
    if code != FACTORY_CODE:
        return f"Chain {site.chain_id} has {'other code' if code else 'nothing'} at the factory's address {FACTORY}."
    place = deterministic_address()
    there = judge(site.rpc.code(place), site.chain_id, place)
    if there.kind not in (Kind.NOTHING, Kind.OURS):
        return f"Chain {site.chain_id} has other code at {place}. {there.why}"
    return None


def _through_factory(site: _Site, sender: Sender) -> Deployment:
    place = deterministic_address()
    if site.has(place, pending=True):
        return _others(site, place)
    try:
        mined = sender.send(FACTORY, factory_call())
    except (TransactionReverted, Refused) as error:
        if site.has(place, pending=True):  # it came first, and the factory creates nothing twice
            return _others(site, place)
        raise _failed(site, error) from error
    return _mined(site, place, mined)


def _by_account(site: _Site, sender: Sender) -> Deployment:
    nonce = site.rpc.nonce(sender.address)
    for earlier in reversed(range(max(nonce - LOOK_BACK, 0), nonce)):
        place = created_address(sender.address, earlier)
        if site.has(place, pending=True):
            return _others(site, place)
    try:
        mined = sender.send(None, creation_code())
    except (TransactionReverted, Refused) as error:
        raise _failed(site, error) from error
    if mined.created is None:
        raise ChainUnavailable(
            "The deployment's receipt names no address.", "The node left it out.", "Run it again: it will be found."
        )
    return _mined(site, mined.created, mined)


def _others(site: _Site, place: Address) -> Deployment:
    """The contract that an earlier or another run's transaction creates."""
    if not site.has(place):
        site.say(f"A transaction that creates {place} waits for a block already; waiting with it.")
        site.await_contract(place, PATIENCE_SECONDS)
    return Deployment(site.chain_id, place)


def _mined(site: _Site, place: Address, mined: Mined) -> Deployment:
    site.await_contract(place, LAG_SECONDS)
    return Deployment(site.chain_id, place, mined.transaction, mined.block, mined.gas_used)


def _failed(site: _Site, error: TransactionReverted | Refused) -> DeploymentFailed:
    size = len(load_contract(CONTRACT).runtime)
    return DeploymentFailed(
        f"Chain {site.chain_id} does not create the contract.",
        error.what,
        f"Check that the chain allows contracts of {size} bytes and transactions with the gas that this takes.",
    )
