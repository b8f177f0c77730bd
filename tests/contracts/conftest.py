"""People and a world for the contract tests. `brownie test` starts an anvil of its own on a free port."""

# ruff: noqa: N803 - brownie's fixtures have the names of their contracts

import socket
import time

import brownie  # and nothing from inside it: its plugin reads what test files import, and chokes on compiled modules
import pytest
from eth_utils.crypto import keccak
from support import World
from web3.middleware import Web3Middleware


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# On its usual port brownie would take over, and reset, whatever node somebody else has there.
brownie._config.CONFIG.networks["development"]["cmd_settings"].update(port=_free_port(), gas_limit=30_000_000)


class ReceiptFirst(Web3Middleware):
    """Returns a transaction's hash when its receipt is there. Brownie may otherwise see the sender's new nonce before
    the receipt, and take the transaction for dropped."""

    def wrap_make_request(self, make_request):
        def request(method, params):
            response = make_request(method, params)
            if method in ("eth_sendTransaction", "eth_sendRawTransaction") and "result" in response:
                while not make_request("eth_getTransactionReceipt", [response["result"]]).get("result"):
                    time.sleep(0.005)
            return response

        return request


@pytest.fixture(scope="session", autouse=True)
def receipt_first():
    brownie.web3.middleware_onion.add(ReceiptFirst)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Last comes what looks at all the others: test_completeness.py."""
    items.sort(key=lambda item: item.path.stem == "test_completeness")


def person(name):
    """An account with a key of its own: it can sign as well as send."""
    return brownie.accounts.add(private_key=keccak(text=name))


@pytest.fixture(scope="session")
def acme():
    return person("acme")


@pytest.fixture(scope="session")
def alice():
    return person("alice")


@pytest.fixture(scope="session")
def bob():
    return person("bob")


@pytest.fixture(scope="session")
def carol():
    return person("carol")


@pytest.fixture(scope="session")
def mallory():
    return person("mallory")


@pytest.fixture(scope="session")
def treasury():
    """Where forfeited bonds go."""
    return person("treasury")


@pytest.fixture(scope="session")
def auditors():
    """Three auditors, ascending as the contract wants them."""
    return sorted((person(f"auditor {number}") for number in range(3)), key=lambda auditor: int(auditor.address, 16))


@pytest.fixture(scope="module")
def token(TestToken, acme, mallory):
    token = acme.deploy(TestToken, 10**30)
    token.mint(mallory, 10**24, {"from": acme})
    return token


@pytest.fixture(scope="module")
def rounds(TrainingRounds, acme):
    return acme.deploy(TrainingRounds)


@pytest.fixture(scope="module")
def world(rounds, token, acme, mallory, auditors, treasury):
    for account in (acme, mallory):
        token.approve(rounds, 2**256 - 1, {"from": account})
    return World(rounds, token, acme, auditors, treasury)


@pytest.fixture(scope="module")
def federation(world):
    """Audited by three with a quorum of two, open admission."""
    return world.federation()


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test begins where its module's fixtures ended."""
