"""Deploy this version's contract with Brownie: to the address, and with the bytecode, of `rondo deploy`.

    .venv-contracts/bin/brownie run deploy --network NETWORK                 # from the first unlocked account
    .venv-contracts/bin/brownie run deploy main ACCOUNT --network NETWORK    # from an account of `brownie accounts`

Brownie cannot leave the hash of the sources out of what it compiles, so its own bytecode would get another address. What
is sent is the committed bytecode, after a look that Brownie's differs from it in that hash alone. Safe to repeat.
"""

import sys
from pathlib import Path

import brownie

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # brownie runs scripts without their project on the path

from network.contract_abi import load_contract
from network.contract_code import CONTRACT, judge
from network.factory import (
    FACTORY,
    FACTORY_CODE,
    creation_code,
    deterministic_address,
    factory_call,
)


def main(account=None):
    """Deploy where it is not there yet; returns the contract's address."""
    require_fresh(brownie.project.get_loaded_projects()[0].dict()[CONTRACT])
    place, factory = deterministic_address(), code_at(FACTORY)
    if is_ours(place):
        print(f"{CONTRACT} of this version is at {place} already; nothing is sent.")
        return place
    sender = brownie.accounts.load(account) if account else brownie.accounts[0]
    if factory == FACTORY_CODE and not code_at(place):
        send(sender, FACTORY, factory_call())
    else:
        print(f"warning: Chain {brownie.chain.id} has no factory at {FACTORY} that can create {place}.")
        print("The contract gets an address of its own: name it to everybody by RONDO_CONTRACT.")
        place = send(sender, None, creation_code()).contract_address
    if not is_ours(place):
        raise SystemExit(f"error: The code at {place} is not this version's.")
    print(f"{CONTRACT} is at {place} on chain {brownie.chain.id}.")
    return place


def require_fresh(container):
    """Exit where Brownie's build differs from the committed code in more than the hash of the sources."""
    built = bytes.fromhex(container._build["deployedBytecode"].removeprefix("0x"))
    if without_metadata(built) != without_metadata(load_contract(CONTRACT).runtime):
        raise SystemExit("error: network/abi is not what contracts/ compile to. Run: make abi")


def without_metadata(code):
    """The code less its last part, whose length is in the last two bytes."""
    return code[: -2 - int.from_bytes(code[-2:], "big")]


def code_at(place):
    return bytes(brownie.web3.eth.get_code(place))


def is_ours(place):
    return judge(code_at(place), brownie.chain.id, place).is_ours


def send(sender, to, data):
    request = {"from": sender.address, "data": "0x" + data.hex(), **({"to": to} if to else {})}
    gas = brownie.web3.eth.estimate_gas(request)
    return sender.transfer(to, data="0x" + data.hex(), gas_limit=gas + gas // 4)
