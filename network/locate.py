"""Finds the contract on the chain that a node serves, and refuses an address with other code."""

from __future__ import annotations

from dataclasses import dataclass

from network.address_book import AddressBook, Entry
from network.contract_code import judge, require_ours
from network.factory import deterministic_address
from network.rpc import Rpc
from protocol.errors import SettingsError
from protocol.types import Address


@dataclass(frozen=True)
class Located:
    """A contract whose code was checked; no event of it is before ``first_block``."""

    address: Address
    first_block: int = 0


def locate(
    rpc: Rpc,
    chain_id: int,
    given: Address | None,
    book: AddressBook | None = None,
    *,
    accept_other_code: bool = False,
) -> Located:
    """Return the contract at ``given``, or else of the address book, or else at this version's address on every chain.

    One code is read where the first place is the right one.

    Args:
        rpc: The node.
        chain_id: Its chain.
        given: The address that the settings name.
        book: Where to look without one, and for the contract's block.
        accept_other_code: Take ``given`` whatever its code is, as long as there is any.

    Raises:
        InvalidInput: No code is at ``given``.
        ForeignContract: Other code is there.
        SettingsError: None is given, and none of this version is known on this chain.
    """
    entries = book.find(chain_id) if book else []
    if given is not None:
        code = rpc.code(given)
        if not (code and accept_other_code):
            require_ours(code, chain_id, given, rpc.url)
        entry = next((entry for entry in entries if entry.address == given), Entry(given))
        return Located(given, first_block(rpc, entry))
    looked = []
    for entry in [*entries, Entry(deterministic_address())]:
        verdict = judge(rpc.code(entry.address), chain_id, entry.address)
        if verdict.is_ours:
            return Located(entry.address, first_block(rpc, entry))
        looked.append(f"{entry.address}: {verdict.why}")
    raise SettingsError(
        f"The setting contract is missing, and chain {chain_id} ({rpc.url}) has no contract of this version "
        "where it could be.",
        " ".join(looked),
        "Deploy one with `rondo deploy`, or set RONDO_CONTRACT, or contract in rondo.toml, to its address.",
    )


def first_block(rpc: Rpc, entry: Entry) -> int:
    """Return the entry's block if it is of this very chain: another that has its id would have other events before it."""
    if entry.block is None:
        return 0
    block = rpc.block(entry.block)
    return entry.block if block is not None and block.hash == entry.block_hash else 0
