"""The state of a server's step that has moments: an artifact of its own, which the model that a round made names.

Files: ``state.json`` (the step's name, the round that made it, version), ``first.safetensors`` and, where the step has a
second moment, ``second.safetensors``: int64, one tensor for each trainable of the model, by its name, in its shape.
Moments are in 2^-8 steps of the tensor's grid, second moments in the squares of these (processor.server_step).

A model without a state goes on from moments of 0. What a base names has to be the state of the task's step, for the base's
own trainables, made in the round that made the base; anything else is refused, so that a base either goes on from what its
makers left or cannot be trained from at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol import canonical_json, tensors
from protocol.content import Content, Files, Held, materialise, read_text
from protocol.encoding import Encoding, Source
from protocol.errors import OutsideWindow, WrongField, WrongFiles
from protocol.fields import Field
from protocol.merge_terms import ServerStep
from protocol.model import Model
from protocol.past import Moments
from protocol.specs import TensorSpec, check_arrays, trainable_specs

STATE = "state.json"
FILES = ("first.safetensors", "second.safetensors")
FRACTION_BITS = 8  # of a grid step
FIRST_LIMIT = 1 << 33  # |first moment| is at most this: 2^25 grid steps, beyond which any coordinate saturates
SECOND_LIMIT = 1 << 61  # a second moment is below this
MOMENTS: Mapping[str, int] = {"plain": 0, "momentum": 1, "adam": 2, "yogi": 2}
VERSION = 1
_FIELDS = ("round", "step", "version")


def state_limit(model_bytes: int) -> int:
    """Return how many bytes a state has at most beside a model of at most ``model_bytes``.

    A trainable coordinate takes 4 bytes of the model's weights and 8 of each moment.
    """
    return 4 * model_bytes + len(FILES) * (8 + tensors.MAX_HEADER_BYTES) + canonical_json.MAX_BYTES


def encode_state(step: str, round_: int, moments: Moments, specs: Iterable[TensorSpec]) -> dict[str, bytes]:
    """Return the files of the state that ``step`` left in round ``round_``: one value, one set of bytes.

    Raises:
        ArtifactRefused: It is not a state, as ``decode_state`` says; TooLarge where nobody could read it.
    """
    return materialise(state_contents(step, round_, moments, specs))


def state_contents(step: str, round_: int, moments: Moments, specs: Iterable[TensorSpec]) -> dict[str, Content]:
    """Return the same files as contents that are encoded when they are read; raises as `encode_state`."""
    manifest = canonical_json.dumps({"round": round_, "step": step, "version": VERSION})
    _read_manifest(manifest)  # refuses what nobody could read
    trainable = trainable_specs(specs)
    files: dict[str, Content] = {STATE: Held(manifest)}
    for at, name in enumerate(FILES[: MOMENTS[step]]):
        moment = {tensor: values[at] for tensor, values in moments.items()}
        _check(name, at, moment, trainable)
        sources = {tensor: _as_it_is(values) for tensor, values in moment.items()}
        files[name] = Encoding(sources)
    return files


def decode_state(files: Mapping[str, bytes] | Files, terms: ServerStep, base: Model) -> Moments:
    """Return the moments from which ``terms`` goes on at ``base``, whose ``server_state`` the directory ``files`` is.

    Of bytes they are read-only views, of contents tensors that are read when asked for.

    Raises:
        WrongFiles: The files are not those of ``terms.step``'s state. NotCanonical, TooLarge: A file is not canonical.
        WrongField: It is another step's, or of another round than the base.
        WrongTensor: The tensors are not int64 of the base's trainables. OutsideWindow: A moment is out of its bounds.
        BlockMissing, BlockCorrupt, StoreUnavailable: From the contents.
    """
    names = FILES[: MOMENTS[terms.step]]
    if not names or files.keys() != {STATE, *names}:
        found = ", ".join(sorted(map(ascii, files)))
        wanted = f"It has {', '.join((STATE, *names))}." if names else "A plain step has no state."
        raise WrongFiles(f"A server state for {terms.step} has {found}.", wanted, "Start from a model of such a task.")
    step, round_ = _read_manifest(read_text(files[STATE], canonical_json.MAX_BYTES))
    if (step, round_) != (terms.step, base.round):
        raise WrongField(
            f"The server state is that of {step} after round {round_}.",
            f"The task's step is {terms.step}, and the base was made in round {base.round}.",
            "Start from a model of such a task, or from one without a state.",
        )
    trainable = trainable_specs(base.specs)
    moments = [tensors.open_file(files[name]) for name in names]
    for at, moment in enumerate(moments):
        _check(names[at], at, moment, trainable)
    return {spec.name: tuple(moment[spec.name] for moment in moments) for spec in trainable}


def _check(name: str, at: int, moment: Mapping[str, tensors.Tensor], trainable: list[TensorSpec]) -> None:
    """Refuse a moment whose tensors are not the trainables', or that leaves the bounds on which the step's proofs rest."""
    check_arrays(moment, trainable, name, "int64")
    low, high = (-FIRST_LIMIT, FIRST_LIMIT) if at == 0 else (0, SECOND_LIMIT - 1)
    for tensor, values in moment.items():
        if any(int(part.min()) < low or int(part.max()) > high for _, part in tensors.spans_of(values)):
            raise OutsideWindow(
                f"{name}: tensor {tensor} leaves its bounds.", f"Values lie from {low} to {high}.", "Publish it again."
            )


def _read_manifest(data: bytes) -> tuple[str, int]:
    fields = Field(canonical_json.loads(data), STATE).object(_FIELDS)
    fields["version"].integer(VERSION, VERSION)
    step = fields["step"].choice([name for name, moments in MOMENTS.items() if moments])
    return step, fields["round"].integer()


def _as_it_is(values: tensors.Tensor) -> Source:
    return Source("int64", values.shape, lambda start, out: tensors.read_span_into(values, start, out))
