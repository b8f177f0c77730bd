"""The service: problems first, then what it shows. Real requests against the chain and store in memory."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from network.memory_chain import MemoryChain
from network.transfer import publish
from organization.service import create_app
from protocol.cid import directory_cid
from protocol.errors import ChainUnavailable
from protocol.types import hex32
from tests.organization.faults import Faulty
from tests.organization.world import World
from tests.processor.factory import account

ABSENT = "0x" + "00" * 32


class Requests:
    """Requests to an application in this process."""

    def __init__(self, app: FastAPI, raise_server_exceptions: bool = True) -> None:
        self.transport = httpx.ASGITransport(app, raise_app_exceptions=raise_server_exceptions)

    def request(self, method: str, path: str) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.transport, base_url="http://acme") as client:
                return await client.request(method, path)

        return asyncio.run(send())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str) -> httpx.Response:
        return self.request("POST", path)


@pytest.fixture
def world(tmp_path):
    world = World()
    world.found(tmp_path)
    world.launch()
    world.ledger.advance(10)
    world.post("alice")
    world.post("bob")
    return world


@pytest.fixture
def service(world):
    return Requests(create_app(MemoryChain(world.ledger), world.store))


def settle(world):
    world.close_training()
    assert world.worker(evaluate=lambda model: {"accuracy": (7, 10)}).settle(world.round.id)


def problem(response, status):
    assert response.status_code == status and response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"what", "why", "do"} and response.json()["what"]
    return response.json()


@pytest.mark.parametrize("path", ["/federations/7", "/federations/7/rounds", "/rounds/1", "/rounds/0x1/updates"])
def test_malformed_ids_are_400(service, path):
    assert "32 bytes" in problem(service.get(path), 400)["what"]


@pytest.mark.parametrize("query", ["offset=-1", "limit=0", "limit=1001", "limit=many"])
def test_malformed_pages_are_400(service, query):
    assert query.split("=")[0] in problem(service.get(f"/federations?{query}"), 400)["what"]


@pytest.mark.parametrize(
    "path",
    [
        f"/federations/{ABSENT}",
        f"/federations/{ABSENT}/rounds",
        f"/rounds/{ABSENT}",
        f"/rounds/{ABSENT}/updates",
        f"/rounds/{ABSENT}/report",
        "/nowhere",
    ],
)
def test_what_is_not_there_is_404(service, path):
    problem(service.get(path), 404)


def test_an_unsettled_round_has_no_report(service, world):
    assert "training" in problem(service.get(f"/rounds/{hex32(world.round.id)}/report"), 404)["why"]


def test_it_only_reads(service):
    problem(service.post("/federations"), 405)


def test_a_chain_that_does_not_answer_is_503(world):
    chain = Faulty(1, False, ChainUnavailable("The node is away.", "", "Start it.")).wrap(MemoryChain(world.ledger))
    assert problem(Requests(create_app(chain, world.store)).get("/health"), 503)["what"] == "The node is away."


def test_a_missing_report_is_503_and_comes_back(service, world):
    settle(world)
    cid = directory_cid(world.round.settled.settlement.report)
    kept = world.store.blocks.pop(cid)
    path = f"/rounds/{hex32(world.round.id)}/report"
    assert str(cid) in problem(service.get(path), 503)["what"]
    world.store.blocks[cid] = kept
    assert service.get(path).status_code == 200


def test_a_report_that_is_none_is_502(service, world, monkeypatch):
    monkeypatch.setattr("organization.settle.encode_report", lambda derived, statement: {"derived.json": b"{}"})
    settle(world)
    assert publish(world.store, {"derived.json": b"{}"}) == world.round.settled.settlement.report
    problem(service.get(f"/rounds/{hex32(world.round.id)}/report"), 502)


def test_an_unforeseen_error_shows_no_inside(world):
    chain = Faulty(1, False, RuntimeError("secret")).wrap(MemoryChain(world.ledger))
    client = Requests(create_app(chain, world.store), raise_server_exceptions=False)
    response = client.get("/health")
    assert "secret" not in response.text
    problem(response, 500)


def test_health(service, world):
    assert service.get("/health").json() == {
        "status": "ok",
        "chain_id": 31337,
        "contract": account("contract"),
        "now": world.ledger.now,
        "federations": 1,
    }


def test_federations(service, world):
    (listed,) = service.get("/federations").json()
    assert listed == service.get(f"/federations/{hex32(world.federation_id)}").json()
    assert listed["organization"] == account("acme") and listed["head"] == str(directory_cid(world.federation.head))
    assert listed["audited"] and listed["warning"] is None and listed["rounds"] == 1 and listed["open_admission"]
    assert service.get("/federations?offset=1").json() == []


def test_unaudited_federations_are_flagged(tmp_path):
    world = World()
    world.found(tmp_path, audited=False)
    world.launch()
    service = Requests(create_app(MemoryChain(world.ledger), world.store))
    (listed,) = service.get("/federations").json()
    assert not listed["audited"] and "Unaudited" in listed["warning"]
    round_ = service.get(f"/rounds/{hex32(world.round.id)}").json()
    assert round_["audited"] is False and "Unaudited" in round_["warning"]
    assert service.get(f"/federations/{hex32(world.federation_id)}/rounds").json() == [round_]


def test_audited_rounds_carry_no_warning(service, world):
    round_ = service.get(f"/rounds/{hex32(world.round.id)}").json()
    assert round_["audited"] is True and round_["warning"] is None


def test_a_round_in_training(service, world):
    (listed,) = service.get(f"/federations/{hex32(world.federation_id)}/rounds").json()
    assert listed == service.get(f"/rounds/{hex32(world.round.id)}").json()
    assert listed["phase"] == "training" and listed["until"] == world.round.training_ends
    assert listed["updates"] == 2 and listed["settlement"] is None and listed["terms"]["bond"] == "1000"


def test_a_settled_round_and_its_report(service, world):
    settle(world)
    world.attest()
    listed = service.get(f"/rounds/{hex32(world.round.id)}").json()
    settled = world.round.settled
    assert listed["phase"] == "final" and listed["pay"] == "result"
    assert listed["settlement"]["rewards_total"] == str(settled.settlement.rewards_total)
    assert [(one["auditor"], one["agrees"]) for one in listed["attestations"]] == [(account("dave"), True)]
    report = service.get(f"/rounds/{hex32(world.round.id)}/report").json()
    assert report["merged"] == 2 and [one["verdict"] for one in report["updates"]] == ["accepted", "accepted"]
    assert (report["outcome"], report["stated"]) == ("merged", False)
    assert report["metrics"] == {"accuracy": {"correct": 7, "total": 10}}
    assert report["rewards_total"] == listed["settlement"]["rewards_total"]


def test_updates_by_pages(service, world):
    path = f"/rounds/{hex32(world.round.id)}/updates"
    both = service.get(path).json()
    assert [one["client"] for one in both] == [account("alice"), account("bob")] and both[0]["paid"] is None
    assert service.get(f"{path}?offset=1&limit=1").json() == both[1:]


def test_everything_is_described(service):
    described = service.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/health",
        "/federations",
        "/federations/{federation}",
        "/federations/{federation}/admission/{client}",
        "/federations/{federation}/rounds",
        "/rounds/{round}",
        "/rounds/{round}/updates",
        "/rounds/{round}/report",
    }
    assert all(set(item) == {"get"} for item in described["paths"].values())
