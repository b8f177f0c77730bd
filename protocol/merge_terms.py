"""How a task says that updates become one: the merge rule, the server's step, the committee, and what standing counts for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Literal, cast, get_args

from protocol.fields import Field

MAX_UPDATES = (1 << 24) - 1  # the contract's uint24
MAX_EXAMPLES_CAP = (1 << 41) - 1  # protocol.bounds.check_bounds with one update
MAX_RATIO = 1_000_000
MAX_COMMITTEE_ROUNDS = 64
MAX_STANDING_WINDOW = 1024
MAX_STANDING_FACTOR = 16  # the most that a standing multiplies a weight by (processor.standing)

RuleName = Literal[
    "fedavg", "fisher-weighted", "fedcurv", "median", "trimmed-mean", "krum", "multi-krum", "bulyan", "distilled"
]
Weighting = Literal["examples", "uniform"]
Bound = Literal["none", "median", "fixed"]
Step = Literal["plain", "momentum", "adam", "yogi"]
Vote = Literal["none", "soft", "majority"]
StandingUse = Literal["record", "weight", "admit"]

NEEDS_IMPORTANCE: frozenset[str] = frozenset({"fisher-weighted", "fedcurv"})  # rules that need it in every round
BYZANTINE: Mapping[str, tuple[int, int]] = {  # rule -> (a, b): it needs a * byzantine + b updates
    "krum": (2, 3),  # Blanchard et al. 2017: 2f + 2 < n
    "multi-krum": (2, 3),
    "bulyan": (4, 3),  # El Mhamdi et al. 2018: n >= 4f + 3
}


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How updates become one change.

    ``rule`` names it; ``weighting`` "examples" (capped) or "uniform" counts for rules that take a mean.
    """

    rule: RuleName = "fedavg"
    weighting: Weighting = "examples"
    examples_cap: int = 10_000  # most examples that count for one client, in weights and in the step plan
    trim: int = 0  # trimmed-mean: values dropped at each end of a coordinate
    byzantine: int = 0  # krum, multi-krum, bulyan: f, the most updates that may be hostile
    keep: int = 0  # multi-krum: how many are selected; 0 is n - f
    # fisher-weighted: added to every importance (of mean 1), so that no client outweighs another by more than 1 + cap / floor
    fisher_floor: Fraction = Fraction(1)
    fisher_cap: Fraction = Fraction(100)
    # norm bounding before any rule: "median" of the accepted updates' norms, or "fixed" at ``bound_norm`` (weights' units)
    bound: Bound = "none"
    bound_norm: Fraction = Fraction(0)

    def after_losses(self, lost: int) -> MergeRule:
        """The rule for the updates that are left when some were refused, withheld, or weigh nothing (SPECIFICATION P11).

        ``byzantine`` and ``trim`` say how many of *all* updates may be hostile. One that does not count is taken for one of
        them, so that many fewer can be among the rest; or garbage and withheld bytes, which cost nothing, could leave a
        rule with too few.
        """
        return replace(self, byzantine=max(0, self.byzantine - lost), trim=max(0, self.trim - lost))

    def least_updates(self) -> int:
        """The fewest accepted updates that the rule can work with (SPECIFICATION P11)."""
        if self.rule in BYZANTINE:
            per_hostile, more = BYZANTINE[self.rule]
            return max(per_hostile * self.byzantine + more, self.byzantine + self.keep)
        return 2 * self.trim + 1 if self.rule == "trimmed-mean" else 1


@dataclass(frozen=True, slots=True)
class ServerStep:
    """What the organization does with the merged change before it is applied (Reddi et al. 2021, alg. 2)."""

    step: Step = "plain"
    rate: Fraction = Fraction(1)
    beta1: Fraction = Fraction(9, 10)  # momentum, adam, yogi
    beta2: Fraction = Fraction(99, 100)  # adam, yogi
    tau: Fraction = Fraction(1, 1000)  # adam, yogi: added to the root of the second moment, in the weights' units


@dataclass(frozen=True, slots=True)
class Committee:
    """Updates of the last ``rounds`` rounds kept as an ensemble that votes; "none" keeps none."""

    vote: Vote = "none"
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What clients' earlier rounds count for: "record" nothing, "weight" in the mean, "admit" refuses below ``least``."""

    use: StandingUse = "record"
    decay: Fraction = Fraction(9, 10)  # of a round's points with every later round
    window: int = 16  # rounds that are looked back
    least: int = 0  # thousandths, at most 0; "admit" refuses clients below it; newcomers have 0


def read_merge(field: Field) -> MergeRule:
    """Return what ``merge`` of ``task.json`` says; raises WrongField."""
    found = field.object(field_names(MergeRule))
    merge = MergeRule(
        rule=cast("RuleName", found["rule"].choice(get_args(RuleName))),
        weighting=cast("Weighting", found["weighting"].choice(get_args(Weighting))),
        examples_cap=found["examples_cap"].integer(1, MAX_EXAMPLES_CAP),
        trim=found["trim"].integer(0, MAX_UPDATES),
        byzantine=found["byzantine"].integer(0, MAX_UPDATES),
        keep=found["keep"].integer(0, MAX_UPDATES),
        fisher_floor=found["fisher_floor"].rational(0, MAX_RATIO),
        fisher_cap=found["fisher_cap"].rational(0, MAX_RATIO),
        bound=cast("Bound", found["bound"].choice(get_args(Bound))),
        bound_norm=found["bound_norm"].rational(0, MAX_RATIO),
    )
    _check_merge(merge, found)
    return merge


def _check_merge(merge: MergeRule, found: Mapping[str, Field]) -> None:
    """Refuse a setting that its rule never reads: whoever wrote it expects something of it."""
    if merge.trim and merge.rule != "trimmed-mean":
        raise found["trim"].refusal(f"0 for {merge.rule}, which trims nothing")
    if merge.byzantine and merge.rule not in BYZANTINE:
        raise found["byzantine"].refusal(f"0 for {merge.rule}, which assumes no number of hostile updates")
    if merge.keep and merge.rule != "multi-krum":
        raise found["keep"].refusal(f"0 for {merge.rule}, which does not choose how many to keep")
    if not merge.fisher_floor:
        raise found["fisher_floor"].refusal("more than 0, or a coordinate could have no weight at all")
    if merge.bound != "none" and merge.rule == "fedcurv":
        raise found["bound"].refusal("none for fedcurv, whose anchor is made of the weights that clients reached")
    if (merge.bound == "fixed") != (merge.bound_norm > 0):
        raise found["bound_norm"].refusal('more than 0 where bound is "fixed", and 0 elsewhere')


def read_server(field: Field) -> ServerStep:
    """Return what ``server`` of ``task.json`` says; raises WrongField."""
    found = field.object(field_names(ServerStep))
    betas = {name: found[name].rational(0, 1) for name in ("beta1", "beta2")}
    for name, beta in betas.items():
        if beta == 1:
            raise found[name].refusal("less than 1, or nothing new would ever count")
        if beta.denominator >= 1 << 31:
            raise found[name].refusal("a rational whose denominator is below 2^31, so that products stay exact")
    tau, rate = found["tau"].rational(0, MAX_RATIO), found["rate"].rational(0, MAX_RATIO)
    if not rate:
        raise found["rate"].refusal("more than 0")
    if not tau:
        raise found["tau"].refusal("more than 0, or a coordinate without a past would divide by 0")
    return ServerStep(cast("Step", found["step"].choice(get_args(Step))), rate, betas["beta1"], betas["beta2"], tau)


def read_committee(field: Field) -> Committee:
    """Return what ``committee`` of ``task.json`` says; raises WrongField."""
    found = field.object(field_names(Committee))
    return Committee(
        cast("Vote", found["vote"].choice(get_args(Vote))), found["rounds"].integer(1, MAX_COMMITTEE_ROUNDS)
    )


def read_standing(field: Field) -> Standing:
    """Return what ``standing`` of ``task.json`` says; raises WrongField."""
    found = field.object(field_names(Standing))
    return Standing(
        use=cast("StandingUse", found["use"].choice(get_args(StandingUse))),
        decay=found["decay"].rational(0, 1),
        window=found["window"].integer(1, MAX_STANDING_WINDOW),
        least=found["least"].integer(-MAX_RATIO, 0),  # newcomers have 0: above it nobody could ever begin
    )


def field_names(record: type) -> list[str]:
    """Return the names of a dataclass's fields, which are those of its JSON."""
    return [field.name for field in fields(record)]
