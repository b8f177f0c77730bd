"""``rondo demo``: a whole federation on this machine, every part its own process with its own key.

The processes share nothing but the chain and the content store. This module only starts them, watches the chain, and
sums up what chain and reports say at the end.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from network.console import Output
from network.evm_chain import connect, transfer_token
from network.keys import open_keystore
from network.kubo_binary import find_ipfs
from network.node import LocalNode
from network.store import ContentStore, open_store
from protocol.errors import InvalidInput
from protocol.report import encode_report
from protocol.types import Address, FederationId, bytes32
from rondo.demo_data import write_digits
from rondo.demo_progress import Progress
from rondo.demo_stores import Kind, Stores, open_stores
from rondo.demo_summary import read_report, render, summarize
from rondo.local_node import GAS_MONEY_WEI, TEST_SUPPLY, Deployment, ensure_deployed, new_account, write_settings
from rondo.processes import ChildFailed, Processes

POLL_SECONDS = 0.5
SECONDS_PER_ROUND = 60  # how long one round may take before the demo gives up, beside the start
START_SECONDS = 120
REWARD_PER_MILLI = 10**15  # 0.001 test token
MAX_MILLIS = 30_000
BOND = 100 * 10**18
ATTESTATION_FEE = 5 * 10**18


@dataclass(frozen=True)
class Member:
    """One participant: its name, its account and the environment of its processes."""

    name: str
    address: Address
    environment: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """What the demo is asked to do."""

    clients: int
    rounds: int
    seed: int
    directory: Path
    stores: Stores

    @property
    def consolidating(self) -> str:
        """Round ceil(R/2) and the last one consolidate importance and anchor."""
        return ",".join(str(index) for index in sorted({-(-self.rounds // 2), self.rounds}))


def run_demo(*, clients: int, rounds: int, seed: int, ipfs: Kind, directory: Path | None, json_mode: bool) -> int:
    """Run the demo; returns 0 only if every audit matched and every token is accounted for.

    With ``ipfs`` "kubo", also only if the two nodes were connected to each other alone and had all content from there.

    Raises:
        InvalidInput: ``directory`` holds files already.
        StoreUnavailable: There is no Kubo, or a node of it failed.
        ChildFailed: One of the processes ended with an error.
    """
    output = Output(json_mode)
    if ipfs == "kubo":
        find_ipfs()  # or nothing is begun
    place = fresh_directory(directory)
    started = time.monotonic()
    output.say(f"All files are left under {place}")
    with (
        open_stores(ipfs, place) as stores,
        LocalNode(place / "chain") as node,
        Processes(place / "logs") as processes,
    ):
        plan = Plan(clients, rounds, seed, place, stores)
        output.say(stores.title)
        deployment = ensure_deployed(node, plan.directory)
        output.say(f"Local chain at {node.url}: TrainingRounds {deployment.contract}, test token {deployment.token}")
        document, problems = _federate(plan, node, deployment, processes, output)
    document["seconds"] = round(time.monotonic() - started, 1)
    document["directory"] = str(plan.directory)
    output.result(document, lambda: render(document))
    for problem in problems:
        output.say(f"FAILED: {problem}")
    if not problems:
        output.say(
            f"Every audit matched, the tampered report was caught, {plan.stores.verdict}and escrow in = paid + returned + "
            f"forfeited ({document['seconds']} s)."
        )
    return 1 if problems else 0


def fresh_directory(directory: Path | None) -> Path:
    """An empty directory for this run. Raises: InvalidInput where ``directory`` is a file or not empty."""
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="rondo-demo-"))
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInput(
            f"{directory} is not empty.", "A demo starts from nothing.", "Name another --dir, or remove it."
        )
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


def _federate(
    plan: Plan, node: LocalNode, deployment: Deployment, processes: Processes, output: Output
) -> tuple[dict[str, Any], list[str]]:
    settings = write_settings(plan.directory, deployment, plan.stores.of("demo"))
    shards, held_out = write_digits(plan.directory / "data", plan.clients, plan.seed)
    names = ["organization", "auditor", *(f"client-{number}" for number in range(1, plan.clients + 1))]
    members = {name: _member(plan, name, settings, node) for name in names}
    _give_tokens(plan, deployment, members["organization"].address)
    federation = _create(plan, processes, members)
    output.say(f"Federation 0x{federation.hex()} created; {plan.clients} clients, 1 auditor, {plan.rounds} rounds")
    in_federation = {"RONDO_FEDERATION": "0x" + federation.hex()}
    _start_all(plan, processes, members, in_federation, shards, held_out)

    chain, store = connect(deployment.chain_url, deployment.contract, None), open_store(plan.stores.of("demo"))
    with Progress(chain, store, federation, output) as progress:
        _wait(plan, processes, progress.update)
    audits = {
        bytes32(one["round"]): one["verdict"]
        for one in json.loads((plan.directory / "logs" / "auditor.json").read_text())["audits"]
    }
    clients = [member.address for name, member in members.items() if name.startswith("client-")]
    summary = summarize(chain, store, federation, audits, clients)  # type: ignore[arg-type]
    caught, words = _tamper(plan, processes, members["auditor"], in_federation, store, chain.state().rounds, federation)
    output.say(words)
    summary.document["tampered_report_caught"] = caught
    summary.document["ipfs"], lost = plan.stores.conclude()
    return summary.document, [*summary.problems, *([] if caught else ["the tampered report was not caught"]), *lost]


def _member(plan: Plan, name: str, settings: Path, node: LocalNode) -> Member:
    keystore = plan.directory / "keys" / f"{name}.json"
    account = new_account(keystore)
    node.fund(account, GAS_MONEY_WEI)
    environment = {
        "RONDO_CONFIG": str(settings),
        "RONDO_KEYSTORE": str(keystore),
        "RONDO_PASSPHRASE_FILE": str(keystore.with_suffix(".pass")),
        "RONDO_HOME": str(plan.directory / "home" / name),
        "RONDO_STORE": plan.stores.of(name),
        "RONDO_POLL_SECONDS": str(POLL_SECONDS),
        # Several small trainings share the cores: one thread each does not trip over the others.
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return Member(name, account, environment)


def _give_tokens(plan: Plan, deployment: Deployment, organization: Address) -> None:
    keystore = plan.directory / "keys" / "deployer.json"
    key = open_keystore(keystore, keystore.with_suffix(".pass").read_text())
    transfer_token(deployment.chain_url, key, deployment.token, organization, TEST_SUPPLY)


def _create(plan: Plan, processes: Processes, members: dict[str, Member]) -> FederationId:
    package = files("rondo")
    arguments = [
        "org",
        "create",
        "--task",
        str(package / "digits_task.toml"),
        "--model",
        str(package / "digits_model.json"),
    ]
    arguments += ["--seed", str(plan.seed), "--auditor", members["auditor"].address, "--quorum", "1", "--json"]
    # Not an auditor's address: who decides on a forfeit must not gain by it.
    arguments += ["--forfeit-to", new_account(plan.directory / "keys" / "forfeits.json")]
    done = processes.run("create", arguments, members["organization"].environment)
    return FederationId(bytes32(json.loads(done.stdout)["federation"]))


def _start_all(
    plan: Plan,
    processes: Processes,
    members: dict[str, Member],
    in_federation: dict[str, str],
    shards: list[Path],
    held_out: Path,
) -> None:
    rounds = ["--rounds", str(plan.rounds)]
    terms = {
        "reward-per-milli": REWARD_PER_MILLI,
        "max-millis": MAX_MILLIS,
        "time-cap-millis": MAX_MILLIS // 3,
        "max-updates": plan.clients,  # the last client closes training, so nobody waits for the clock
        "training-seconds": 120 + 5 * plan.clients,
        "settlement-seconds": 120,
        "challenge-seconds": 120,
        "bond": BOND,
        "attestation-fee": ATTESTATION_FEE,
    }
    flags = [part for name, value in terms.items() for part in (f"--{name}", str(value))]
    organization = ["org", "run", *rounds, "--consolidate", plan.consolidating, "--test-data", str(held_out), *flags]
    processes.start("organization", organization, members["organization"].environment | in_federation)
    processes.start(
        "auditor",
        ["audit", "--follow", "--attest", *rounds, "--json"],
        members["auditor"].environment | in_federation,
        stdout=plan.directory / "logs" / "auditor.json",
    )
    for number, shard in enumerate(shards, start=1):
        member = members[f"client-{number}"]
        arguments = ["client", "run", "--data", str(shard), *rounds, "--trust-auditor", members["auditor"].address]
        processes.start(member.name, arguments, member.environment | in_federation)


def _wait(plan: Plan, processes: Processes, update: Callable[[], None]) -> None:
    deadline = time.monotonic() + START_SECONDS + plan.rounds * SECONDS_PER_ROUND * max(1.0, plan.clients / 5)
    while processes.running():
        update()
        plan.stores.watch()
        if time.monotonic() > deadline:
            waiting = ", ".join(child.name for child in processes.running())
            raise ChildFailed(
                f"The demo did not end in time; still running: {waiting}.",
                "The machine may be too slow for so many clients.",
                f"Look into {processes.logs}, or take fewer clients.",
            )
        time.sleep(POLL_SECONDS)
    update()


def _tamper(
    plan: Plan,
    processes: Processes,
    auditor: Member,
    in_federation: dict[str, str],
    store: ContentStore,
    rounds: Any,
    federation: FederationId,
) -> tuple[bool, str]:
    """Add one millisecond of credit to a copy of the last report, and let the auditor look at the copy."""
    last = max((one for one in rounds.values() if one.federation == federation), key=lambda one: one.index)
    report = read_report(store, last)
    if report is None:
        return False, "There was no report to tamper with."
    derived, statement = report
    victim = derived.updates[0]
    forged = replace(derived, updates=(replace(victim, credit_millis=victim.credit_millis + 1), *derived.updates[1:]))
    folder = plan.directory / "tampered-report"
    folder.mkdir()
    for name, data in encode_report(forged, statement).items():
        (folder / name).write_bytes(data)
    arguments = ["audit", str(last.index), "--report", str(folder), "--json"]
    done = processes.run("audit-of-tampered-report", arguments, auditor.environment | in_federation, expect=1)
    found = json.loads(done.stdout)["differences"]
    where = "report.updates[0].credit_millis"
    caught = any(item["where"] == where for item in found)
    return caught, (
        f"A copy of round {last.index}'s report with one millisecond more for {victim.client}: the auditor says mismatch at "
        + ", ".join(f"{item['where']} (said {item['said']}, follows {item['derived']})" for item in found)
    )
