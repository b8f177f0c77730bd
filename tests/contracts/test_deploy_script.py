"""``brownie run deploy``: the address, the code and the manners of `rondo deploy`."""

import brownie
import pytest

from network.contract_abi import load_contract
from network.contract_code import CONTRACT, fill, judge
from network.factory import FACTORY, FACTORY_CODE, SALT, creation_code, deterministic_address
from scripts import deploy


@pytest.fixture
def fresh_chain(fn_isolation):
    """The factory is there and the contract is not, whatever ran before."""
    set_code(FACTORY, FACTORY_CODE)
    set_code(deterministic_address(), b"")
    brownie.web3.provider.make_request("anvil_setNonce", [deterministic_address(), "0x0"])


def set_code(place, code):
    answer = brownie.web3.provider.make_request("anvil_setCode", [place, "0x" + code.hex()])
    assert "error" not in answer


def count(account):
    return brownie.web3.eth.get_transaction_count(account.address)


def test_an_old_build_is_refused(TrainingRounds, TestToken):  # noqa: N803 - contracts
    deploy.require_fresh(TrainingRounds)
    with pytest.raises(SystemExit, match="make abi"):
        deploy.require_fresh(TestToken)


def test_brownies_build_is_the_committed_code_but_for_the_hash_of_the_sources(TrainingRounds):  # noqa: N803
    committed = load_contract(CONTRACT)
    built = bytes.fromhex(TrainingRounds._build["deployedBytecode"].removeprefix("0x"))
    assert len(built) > len(committed.runtime)
    assert deploy.without_metadata(built) == deploy.without_metadata(committed.runtime)
    assert b"ipfs" in built[-60:] and b"ipfs" not in committed.runtime[-60:]


def test_it_goes_to_the_address_of_rondo_deploy(fresh_chain):
    place = deploy.main()
    assert place == deterministic_address()
    keccak = brownie.web3.keccak
    assert (
        bytes.fromhex(place[2:]) == keccak(b"\xff" + bytes.fromhex(FACTORY[2:]) + SALT + keccak(creation_code()))[12:]
    )
    assert judge(deploy.code_at(place), brownie.chain.id, place).is_ours


def test_the_second_run_sends_nothing(fresh_chain, capsys):
    place, sent = deploy.main(), count(brownie.accounts[0])
    assert deploy.main() == place
    assert count(brownie.accounts[0]) == sent
    assert "already; nothing is sent" in capsys.readouterr().out


@pytest.mark.parametrize("code", [b"", b"\x60\x00"])
def test_without_the_factory_it_warns_and_creates_plainly(fresh_chain, capsys, code):
    set_code(FACTORY, code)
    place = deploy.main()
    assert place != deterministic_address()
    assert judge(deploy.code_at(place), brownie.chain.id, place).is_ours
    assert "warning: " in capsys.readouterr().out


def test_the_code_of_a_deployment_by_brownie_itself_is_foreign(rounds):
    """Its address and immutables are right, its hash of the sources is not the committed one."""
    code = deploy.code_at(rounds.address)
    assert not judge(code, brownie.chain.id, rounds.address).is_ours
    ours = fill(load_contract(CONTRACT), _immutables(rounds.address))
    assert deploy.without_metadata(code) == deploy.without_metadata(ours)


def _immutables(place):
    from network.contract_code import expected_immutables

    return expected_immutables(brownie.chain.id, place)
