"""Every call that a round can get, by name, and tables of what becomes of it. Each call is made by who may make it, with
values that are right, so that phase and time alone can refuse it."""

from dataclasses import dataclass
from enum import Enum, auto

from support import MODEL, WITNESS, PayBasis, Phase, World, at, client_claims, digest_of, now, refused, round_terms

from protocol import hashing

OK = "taken"


class Of(Enum):
    """Stands in a table for what only the test knows."""

    ROUND = auto()
    SECOND = auto()  # the block's in which the call is made
    FEDERATION = auto()
    AUDITOR = auto()  # the first, whose fee is claimed
    LATECOMER = auto()  # the auditor that attests


@dataclass(frozen=True)
class Situation:
    """A round and its people, as the calls need them."""

    world: World
    federation: bytes
    index: int
    client: object  # who has an update
    newcomer: object  # who has none
    settled: object = None  # what `settle` says
    other: object = None  # what `reveal` opens
    proved: object = None  # what `claim` proves
    head: bytes = MODEL

    @property
    def round(self):
        return hashing.round_id(self.federation, self.index)

    def signed(self):
        if self.world.view(self.round)["launchedAt"]:
            return self.world.signed(self.round, self.newcomer, 0)
        return (self.newcomer, digest_of(self.newcomer), 0, b"")

    def settlement(self):
        return self.settled.settlement if self.settled else (b"\1" * 32, MODEL, *[bytes(32)] * 3, 0)

    def opening(self):
        return self.other.opening if self.other else (self.round, MODEL, *[bytes(32)] * 2, 0)

    def claim(self):
        return self.proved.claim(self.client) if self.proved else (self.round, self.client, 1, [])

    def batch(self):
        _, _, amount, proof = self.claim()
        return (self.federation, [client_claims(self.client, (self.index, amount, proof))])


def _organization(s):
    return {"from": s.world.acme}


def _anybody(s):
    return {"from": s.world.treasury}


CALLS = {
    "submitUpdate": lambda s: s.world.rounds.submitUpdate(s.round, digest_of(s.newcomer), 0, {"from": s.newcomer}),
    "submitUpdateFor": lambda s: s.world.rounds.submitUpdateFor(s.round, s.signed(), _anybody(s)),
    "submitUpdates": lambda s: s.world.rounds.submitUpdates(s.round, [s.signed()], _anybody(s)),
    "settle": lambda s: s.world.rounds.settle(s.round, s.settlement(), _organization(s)),
    "attest": lambda s: s.world.rounds.attest(s.round, b"\7" * 32, WITNESS, {"from": s.world.auditors[2]}),
    "reveal": lambda s: s.world.rounds.reveal(*s.opening(), _anybody(s)),
    "claim": lambda s: s.world.rounds.claim(*s.claim(), _anybody(s)),
    "claimByTime": lambda s: s.world.rounds.claimByTime(s.round, s.client, _anybody(s)),
    "claimBatch": lambda s: s.world.rounds.claimBatch(*s.batch(), _anybody(s)),
    "claimAttestationFee": lambda s: s.world.rounds.claimAttestationFee(s.round, s.world.auditors[0], _anybody(s)),
    "withdraw": lambda s: s.world.rounds.withdraw(s.round, _anybody(s)),
    "forfeit": lambda s: s.world.rounds.forfeit(s.round, _anybody(s)),
    "launchRound": lambda s: s.world.rounds.launchRound(s.federation, s.head, round_terms(), _organization(s)),
}


def table(phase, basis, *, submits=None, **taken):
    """Return what becomes of every call in ``phase``: refused for it, but for what is ``taken`` or differs.

    ``submits`` is what becomes of all three ways to submit. Where the round is over, the next can be launched.
    """
    wrong = {"settle": Phase.SETTLEMENT, "attest": Phase.CHALLENGE, "reveal": Phase.REJECTED}
    submits = submits or ("WrongPhase", Of.ROUND, phase, Phase.TRAINING)
    rows = {
        "submitUpdate": submits,
        "submitUpdateFor": submits,
        "submitUpdates": submits,
        **{call: ("WrongPhase", Of.ROUND, phase, required) for call, required in wrong.items()},
        "claim": ("NotPayable", Of.ROUND, basis, PayBasis.RESULT),
        "claimByTime": ("NotPayable", Of.ROUND, basis, PayBasis.TIME),
        "claimBatch": ("NotPayable", Of.ROUND, basis, PayBasis.RESULT),
        "claimAttestationFee": ("NotAttested", Of.ROUND, Of.AUDITOR),
        "withdraw": 0,
        "forfeit": ("NothingForfeited", Of.ROUND, phase),
        "launchRound": ("RoundIsLive", Of.ROUND, phase) if phase.is_live else OK,
    }
    if basis == PayBasis.RESULT:
        rows |= {"claim": OK, "claimBatch": OK}
    if basis == PayBasis.TIME:
        rows |= {"claimByTime": OK, "claimBatch": OK}
    assert rows.keys() == CALLS.keys() >= taken.keys()
    return rows | taken


def taken(rows):
    """Return the calls that ``rows`` does not refuse: what they change, another test has to begin without."""
    return [call for call, expected in rows.items() if not isinstance(expected, tuple)]


def takings(cases):
    """Return (name, moment, call) for every call taken in ``cases``: {name: {moment: rows}}."""
    return [
        (name, moment, call)
        for name, moments in cases.items()
        for moment, rows in moments.items()
        for call in taken(rows)
    ]


def assert_refused(s, rows, second):
    """Make every call that ``rows`` refuses, each in a block of exactly ``second``: none of them changes anything."""
    auditor, _, latecomer = s.world.auditors
    values = {
        Of.ROUND: s.round,
        Of.SECOND: second,
        Of.FEDERATION: s.federation,
        Of.AUDITOR: auditor,
        Of.LATECOMER: latecomer,
    }
    before = s.world.view(s.round) | {"phase": None, "basis": None}
    for call, expected in rows.items():
        if isinstance(expected, tuple):
            at(second)
            with refused(expected[0], *(values.get(value, value) for value in expected[1:])):
                CALLS[call](s)
    assert now() == second
    assert s.world.view(s.round) | {"phase": None, "basis": None} == before


def assert_taken(s, call, rows, second):
    """Make the call in a block of exactly ``second``; `withdraw` returns the base units that ``rows`` say."""
    at(second)
    transaction = CALLS[call](s)
    assert transaction.timestamp == second
    assert "UpdateSkipped" not in transaction.events
    assert (call == "withdraw") == (rows[call] is not OK)
    if call == "withdraw":
        assert transaction.return_value == s.world.view(s.round)["returned"] == rows[call]
