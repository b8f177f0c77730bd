"""A local EVM node: anvil (npm ``@foundry-rs/anvil``) as a child process, for demos, development and tests."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from network.guarded import start_guarded, stop_guarded
from protocol.errors import ChainUnavailable, SettingsError
from protocol.types import Address

REPOSITORY = Path(__file__).resolve().parent.parent
ETHER = 10**18
LOG = "anvil.log"
# Of so many blocks anvil keeps the whole state, in memory. Without a limit it writes 0.3 MB a block to ~/.foundry, one
# block a second, and leaves them there when it is killed. Blocks, transactions and logs are kept whatever the limit.
KEPT_STATES = "64"


def find_anvil(repository: Path = REPOSITORY) -> Path:
    """Return anvil's path: the binary of the npm package in ``node_modules``, its launcher, or the one on PATH.

    Raises:
        SettingsError: There is none.
    """
    modules = repository / "node_modules"
    # The package's launcher is a script of Node.js that would stay between us and the node.
    places = itertools.chain(modules.glob("@foundry-rs/anvil-*/bin/anvil*"), modules.glob(".bin/anvil"))
    on_path = shutil.which("anvil")
    for place in itertools.chain(places, [Path(on_path)] if on_path else []):
        if place.is_file():
            return place
    raise SettingsError(
        "There is no anvil, the local EVM node.",
        f"It is neither in {modules} nor on PATH.",
        "Run `npm ci`, or set RONDO_CHAIN_URL to a node that is running.",
    )


class LocalNode:
    """A running anvil; use it as a context manager, or call `start` and `stop`.

    Time passes by itself: without a ``block_time`` the latest block's time would stand still between transactions.
    There are no ready-made accounts: give gas money with `fund`.

    Args:
        directory: Keeps the chain over restarts (``state.json``, written every few seconds and at the end) and what
            anvil says (``anvil.log``); None forgets both.
        port: TCP port on 127.0.0.1, a free one where None.
        block_time: Seconds between blocks, besides a block for every transaction; None mines on transactions alone.
        chain_id: The chain's id.
        options: More words for anvil's command line, such as ``("--hardfork", "osaka")``.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        block_time: int | None = 1,
        chain_id: int = 31337,
        options: Sequence[str] = (),
    ) -> None:
        self.directory, self.port = directory, port or free_port()
        self.block_time, self.chain_id, self.options = block_time, chain_id, tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The JSON-RPC endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, patience: float = 30) -> Self:
        """Start anvil and return once it answers.

        Raises:
            SettingsError: There is no anvil.
            ChainUnavailable: The port is in use, or anvil ended or did not answer within ``patience`` seconds.
        """
        if self._process is not None:
            return self
        if is_listening(self.port):  # its answers would pass for ours
            raise ChainUnavailable(f"anvil cannot start on port {self.port}.", "It is in use.", "Use another port.")
        self._process = start_guarded(self._command(), self.directory / LOG if self.directory else None)
        self._await(patience)
        return self

    def _command(self) -> list[str]:
        command = [str(find_anvil()), "--host", "127.0.0.1", "--port", str(self.port), "--accounts", "0", "--quiet"]
        command += ["--prune-history", KEPT_STATES]
        command += ["--chain-id", str(self.chain_id)]
        if self.block_time is not None:
            command += ["--block-time", str(self.block_time), "--mixed-mining"]
        if self.directory is not None:
            command += ["--state", str(self.directory / "state.json"), "--state-interval", "15"]
        return [*command, *self.options]

    def _await(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while self.is_running and time.monotonic() < deadline:
            try:
                chain_id = int(self.rpc("eth_chainId"), 16)
            except ChainUnavailable:
                time.sleep(0.05)
                continue
            if self.is_running and chain_id == self.chain_id:
                return
        self.stop()
        raise ChainUnavailable(
            f"anvil did not start on port {self.port}.",
            self._last_words() or "It ended, or does not answer.",
            "Look into its directory.",
        )

    def _last_words(self) -> str:
        if self.directory is None:
            return ""
        return (self.directory / LOG).read_text(errors="replace").strip()[-500:]

    @property
    def is_running(self) -> bool:
        """Whether anvil has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raise ChainUnavailable if anvil has ended by itself."""
        if not self.is_running:
            raise ChainUnavailable("The local node has ended.", self._last_words(), "Start it again.")

    def stop(self) -> None:
        """Stop anvil and wait until its state is saved; nothing happens where it does not run."""
        if self._process is None:
            return
        process, self._process = self._process, None
        stop_guarded(process)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def rpc(self, method: str, *parameters: object) -> Any:
        """Return the answer to a JSON-RPC request: what anvil has besides Ethereum's own methods.

        Raises:
            ChainUnavailable: It does not answer, or answers with an error.
        """
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        try:
            answer = requests.post(self.url, json=request, timeout=20).json()
        except (requests.RequestException, ValueError) as error:
            raise ChainUnavailable(
                f"The local node at {self.url} does not answer {method}.", f"{type(error).__name__}.", "Is it running?"
            ) from error
        if "error" in answer:
            raise ChainUnavailable(f"The local node refused {method}.", str(answer["error"].get("message")), "")
        return answer.get("result")

    def fund(self, account: Address, wei: int = 1000 * ETHER) -> None:
        """Set what ``account`` holds to ``wei``, for gas."""
        self.rpc("anvil_setBalance", account, hex(wei))

    def advance_to(self, timestamp: int) -> None:
        """Mine a block at ``timestamp`` (chain seconds, after the latest block's)."""
        self.rpc("evm_setNextBlockTimestamp", hex(timestamp))
        self.rpc("evm_mine")


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Say whether somebody takes connections on a TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
