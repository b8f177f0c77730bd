"""The JSON bodies of the relay: an update comes in as its client signed it, and goes out with how far it has come."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from organization.relay import Progress, Relay, Relayed
from organization.views import View
from protocol.cid import DAG_PB, directory_cid, parse_cid
from protocol.errors import InvalidInput
from protocol.hashing import DOMAIN_NAME, DOMAIN_VERSION, UPDATE_TYPE
from protocol.terms import SignedUpdate
from protocol.types import RoundId, address, bytes32, hex32


class RelayRequest(BaseModel):
    """One signed update. What is signed is EIP-712: see GET /relay for the domain and the type."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: str = Field(pattern="^0x[0-9a-f]{64}$", description="Id of the round.")
    client: str = Field(pattern="^0x[0-9a-fA-F]{40}$", description="The account that signed.")
    update: str = Field(min_length=59, max_length=59, description="CID of the update's directory.")
    millis: int = Field(strict=True, ge=0, lt=2**40, description="Compute milliseconds, as signed.")
    signature: str = Field(pattern="^0x(?:[0-9a-f]{2})*$", max_length=2050, description="65 bytes: r, s, v.")

    def signed(self) -> tuple[RoundId, SignedUpdate]:
        """The round, and the update that the contract takes. Raises: InvalidInput."""
        cid = parse_cid(self.update)
        if cid.codec != DAG_PB:
            raise InvalidInput(f"{self.update} is a file.", "An update is a directory.", "Name its directory.")
        signature = bytes.fromhex(self.signature[2:])
        return RoundId(bytes32(self.round)), SignedUpdate(address(self.client), cid.digest, self.millis, signature)


class RelayedView(View):
    """How far an update has come, as the relay last saw it; what counts is the chain."""

    round: str
    client: str
    update: str
    state: str = Field(description=" | ".join(Progress))
    transaction: str | None = Field(description="The relay's own transaction, null where it sent none that is known.")
    reason: str | None = Field(description="Why it is skipped, or still waits.")

    @classmethod
    def of(cls, relayed: Relayed) -> RelayedView:
        """The view of one update."""
        return cls(
            round=hex32(relayed.round),
            client=relayed.client,
            update=str(directory_cid(relayed.digest)),
            state=relayed.progress,
            transaction=None if relayed.transaction is None else hex32(relayed.transaction),
            reason=relayed.reason or None,
        )


class RelayView(View):
    """Whom the relay pays for, its limits, and what it did since it was started."""

    account: str = Field(description="The account that pays the gas.")
    federation: str
    chain_id: int
    contract: str
    domain: str = Field(description="Name and version of the EIP-712 domain; the rest of it is chain and contract.")
    signs: str = Field(description="The EIP-712 type that a client signs; terms is the round's terms hash.")
    admits: str = Field(description="joined: only clients that joined by the list | anyone")
    batch: int
    wait_seconds: float
    closing_seconds: int = Field(description="So long before the end of training nothing more is taken.")
    pending: int
    submitted: int
    skipped: int
    transactions: int
    gas_used: int
    problem: str | None = Field(description="What keeps the relay from sending now.")

    @classmethod
    def of(cls, relay: Relay) -> RelayView:
        """The view of the relay now."""
        totals, limits = relay.totals(), relay.limits
        return cls(
            account=relay.account,
            federation=hex32(relay.federation),
            chain_id=relay.chain_id,
            contract=relay.contract,
            domain=f"{DOMAIN_NAME} {DOMAIN_VERSION}",
            signs=UPDATE_TYPE,
            admits="anyone" if relay.anyone else "joined",
            batch=limits.batch,
            wait_seconds=limits.wait_seconds,
            closing_seconds=limits.closing_seconds,
            pending=totals.pending,
            submitted=totals.submitted,
            skipped=totals.skipped,
            transactions=totals.transactions,
            gas_used=totals.gas_used,
            problem=totals.problem,
        )
