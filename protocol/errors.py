"""The error tree: every error says what happened, why, and what to do, and carries an exit code for scripts.

    RondoError                      70  (internal)
    ├── InvalidInput                64  the caller's words are wrong
    ├── SettingsError               78  settings are missing or contradict each other
    ├── KeyError_                   77  a keystore is missing, locked or wrong
    ├── ChainError                  69
    │   ├── ChainUnavailable        69  the node does not answer
    │   ├── LogsIncomplete          69  an RPC node left something out
    │   ├── InsufficientFunds       77  no gas money or no tokens
    │   ├── UnknownFederation       66
    │   ├── UnknownRound            66
    │   ├── ForeignContract         65  the code at an address is not this version's contract
    │   ├── DeploymentFailed        76  the chain did not create the contract
    │   └── TransactionReverted     76  the contract said no, by a named custom error
    ├── ContentError                69
    │   ├── BlockMissing            69  nobody has the block
    │   ├── BlockCorrupt            65  the bytes are not those that the CID names
    │   ├── FileChanged             75  a file or directory changed while it was read
    │   └── StoreUnavailable        69
    │       └── SearchUnfinished    69  a source was still looking when its time was over
    ├── ArtifactRefused             65  an artifact is not what it must be; ``rule`` names the rule
    │   └── (one class a rule, below)
    ├── ClusterUnavailable          69  machines that were to share a merge cannot be had
    └── ArithmeticRefused           65  a bound that keeps a merge exact would be exceeded

``audit`` alone uses 1 (mismatch) and 2 (could not decide).
"""

from __future__ import annotations

from typing import ClassVar


class RondoError(Exception):
    """Base of all errors that Rondo raises on purpose.

    Args:
        what: What happened, with the subject (an address, a CID, a file).
        why: The cause as far as it is known.
        do: What the reader can do about it.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        self.what, self.why, self.do = what, why, do
        super().__init__(" ".join(part for part in (what, why, do) if part))


class InvalidInput(RondoError):
    """The caller's arguments are wrong."""

    exit_code = 64


class SettingsError(RondoError):
    """A setting is missing or wrong."""

    exit_code = 78


class KeyError_(RondoError):  # noqa: N801 - KeyError is Python's own
    """A keystore file is missing, cannot be opened, or is not the one needed."""

    exit_code = 77


class ChainError(RondoError):
    """Something between us and the chain."""

    exit_code = 69


class ChainUnavailable(ChainError):
    """The EVM node does not answer."""


class LogsIncomplete(ChainError):
    """The contract's events do not follow from each other: an RPC node left something out or made something up."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            "The RPC node left out an event, or answered from two different chains.",
            "Ask again; if it stays, use another RPC node.",
        )


class InsufficientFunds(ChainError):
    """The account cannot pay gas or the escrow."""

    exit_code = 77


class UnknownFederation(ChainError):
    """The contract knows no such federation."""

    exit_code = 66


class UnknownRound(ChainError):
    """The contract knows no such round."""

    exit_code = 66


class ForeignContract(ChainError):
    """The code at an address is not that of this version's contract."""

    exit_code = 65


class DeploymentFailed(ChainError):
    """The chain did not create the contract."""

    exit_code = 76


class TransactionReverted(ChainError):
    """The contract refused; ``name`` and ``arguments`` are its custom error, decoded by the ABI."""

    exit_code = 76

    def __init__(self, name: str, arguments: tuple[object, ...] = (), do: str = "") -> None:
        self.name, self.arguments = name, arguments
        shown = ", ".join(f"0x{a.hex()}" if isinstance(a, bytes) else str(a) for a in arguments)
        super().__init__(f"The contract refused the transaction: {name}({shown}).", "", do)


class ContentError(RondoError):
    """Something between us and the content store."""

    exit_code = 69


class StoreUnavailable(ContentError):
    """The store cannot be read or written."""


class SearchUnfinished(StoreUnavailable):
    """A source had not answered when the time it was given was over: it may be looking still, so others are not to blame it."""


class BlockMissing(ContentError):
    """No source has the block; ``cid`` names it."""

    def __init__(self, cid: str, where: str = "the content store") -> None:
        self.cid = cid
        super().__init__(
            f"Block {cid} is not in {where}.",
            "Its author has not published it yet, or nobody keeps it any more.",
            "Wait until the publication window ends, or add another source.",
        )


class BlockCorrupt(ContentError):
    """Bytes do not hash to the CID they were asked by."""

    exit_code = 65

    def __init__(self, cid: str, where: str = "the content store") -> None:
        self.cid = cid
        super().__init__(
            f"Block {cid} in {where} is corrupt.",
            "Its bytes do not hash to its name.",
            "Delete it there and fetch it again.",
        )


class FileChanged(ContentError):
    """A file or directory on disk changed while it was read, so what was read is no version of it."""

    exit_code = 75

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} changed while it was read.", why, "Let its writer finish, then do it again.")


class ClusterUnavailable(RondoError):
    """The machines that were to share a merge cannot be had, or were lost."""

    exit_code = 69


class ArtifactRefused(RondoError):
    """An artifact is refused; ``rule`` is the stable name that reports and auditors use."""

    exit_code = 65
    rule: ClassVar[str] = "refused"


class NotCanonical(ArtifactRefused):
    """The bytes are not the one canonical encoding of their content."""

    rule = "not-canonical"


class TooLarge(ArtifactRefused):
    """A file or directory is over its size limit."""

    rule = "too-large"


class WrongFiles(ArtifactRefused):
    """A directory holds other files than its kind has."""

    rule = "wrong-files"


class WrongField(ArtifactRefused):
    """A JSON field is missing, unknown, of the wrong type or out of range."""

    rule = "wrong-field"


class WrongTensor(ArtifactRefused):
    """A tensor's name, shape or dtype is not the model's."""

    rule = "wrong-tensor"


class NotFinite(ArtifactRefused):
    """A weight is NaN or infinite."""

    rule = "not-finite"


class OutsideWindow(ArtifactRefused):
    """An exponent or a mantissa lies outside its window."""

    rule = "outside-window"


class ForeignBase(ArtifactRefused):
    """The update was trained from another base model."""

    rule = "foreign-base"


class ForeignRound(ArtifactRefused):
    """The update names another federation or round."""

    rule = "foreign-round"


class ForeignAuthor(ArtifactRefused):
    """The update names another author than the account that committed it."""

    rule = "foreign-author"


class WrongSteps(ArtifactRefused):
    """The stated steps are not the plan's: ceil(examples / batch) * epochs."""

    rule = "wrong-steps"


class DuplicateDelta(ArtifactRefused):
    """An earlier update of the round holds the identical delta."""

    rule = "duplicate-delta"


class NegativeStatistic(ArtifactRefused):
    """The update would make a non-negative statistic negative."""

    rule = "negative-statistic"


class UnexpectedImportance(ArtifactRefused):
    """Importance is missing where the round needs it, or present where it is refused."""

    rule = "unexpected-importance"


class EmptyImportance(ArtifactRefused):
    """The importance is zero everywhere, so it cannot be rescaled."""

    rule = "empty-importance"


class LowStanding(ArtifactRefused):
    """The client's standing is below what the task admits."""

    rule = "low-standing"


class UnsafeArchitecture(ArtifactRefused):
    """``architecture.json`` names something outside the allow-list of built-in Keras layers."""

    rule = "unsafe-architecture"


class ArithmeticRefused(RondoError):
    """A stated overflow bound would be exceeded; nothing was computed."""

    exit_code = 65


class TooFewUpdates(RondoError):
    """A merge rule got fewer updates than it can work with; nothing was merged."""

    exit_code = 65
