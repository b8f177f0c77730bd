"""Tasks: what people may write, what is refused and under which path, and the bound that keeps a merge exact."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import task as task_module
from protocol.bounds import MAX_REPORTED, check_bounds
from protocol.errors import ArithmeticRefused, InvalidInput, NotCanonical, WrongField, WrongFiles
from protocol.task import (
    Consolidation,
    CreditRule,
    MergeRule,
    Task,
    Training,
    decode_task,
    encode_task,
    load_task_toml,
)
from protocol.update import WINDOW
from tests.protocol.samples import FILES, TASK

TASK_FILE = task_module.TASK


def written(path: Path, text: str, name: str = "task.toml") -> Path:
    """A file with ``text``."""
    file = path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", r"task\.toml: name is missing"),
        ("name = ''", r"task\.toml: name is ''"),
        ('name = "a\\u001bb"', r"task\.toml: name"),
        ("name = 'a'\nspeed = 1", r"task\.toml: speed is unknown"),
        ("name = 'a'\n[training]\nspeed = 1", r"task\.toml: training\.speed is unknown.*Known: batch_size, epochs"),
        ("name = 'a'\ntraining = 1", r"task\.toml: training is 1"),
        ("name = 'a'\n[training]\nlearning_rate = 'fast'", r"task\.toml: training\.learning_rate is 'fast'"),
        ("name = 'a'\n[training]\nlearning_rate = 0", r"task\.toml: training\.learning_rate is '0'"),
        ("name = 'a'\n[training]\nlearning_rate = -0.1", r"training\.learning_rate is '-1/10'"),
        ("name = 'a'\n[training]\nlearning_rate = 1e999999999", r"training\.learning_rate is '1e999999999'"),
        ("name = 'a'\n[training]\nlearning_rate = nan", r"training\.learning_rate is 'nan'"),
        ("name = 'a'\n[training]\nlearning_rate = '1/0'", r"training\.learning_rate"),
        ("name = 'a'\n[training]\nlearning_rate = true", r"training\.learning_rate is True"),
        ("name = 'a'\n[training]\nmomentum = 1", r"training\.momentum"),
        ("name = 'a'\n[training]\noptimizer = 'adam'\nmomentum = 0.9", r"training\.momentum .*adam"),
        ("name = 'a'\n[training]\noptimizer = 'lion'", r"training\.optimizer .*sgd, adam"),
        ("name = 'a'\n[training]\nbatch_size = 0", r"training\.batch_size is 0"),
        ("name = 'a'\n[training]\nbatch_size = 32.0", r"training\.batch_size is '32\.0'"),
        ("name = 'a'\n[training]\nepochs = 4097", r"training\.epochs is 4097"),
        ("name = 'a'\n[training]\nloss = 'mse'", r"training\.loss"),
        ("name = 'a'\n[merge]\nrule = 'mean'", r"merge\.rule is 'mean'"),
        ("name = 'a'\n[merge]\nweighting = 'loss'", r"merge\.weighting"),
        ("name = 'a'\n[merge]\nexamples_cap = 0", r"merge\.examples_cap is 0"),
        ("name = 'a'\n[merge]\nexamples_cap = 2199023255552", r"merge\.examples_cap"),
        ("name = 'a'\n[consolidation]\ndecay = 1.1", r"consolidation\.decay"),
        ("name = 'a'\n[consolidation]\nstrength = -1", r"consolidation\.strength"),
        ("name = 'a'\n[consolidation]\ncombine = 'mean'", r"consolidation\.combine"),
        ("name = 'a'\n[consolidation]\ntrim = 1", r"consolidation\.trim .*median"),
        (
            "name = 'a'\n[consolidation]\ncombine = 'trimmed_mean'\ntrim = 1",
            r"min_updates is 1.*2 \* consolidation\.trim",
        ),
        ("name = 'a'\n[consolidation]\nexamples = 0", r"consolidation\.examples"),
        ("name = 'a'\n[credit]\nkappa = -1", r"credit\.kappa"),
        ("name = 'a'\n[limits]\nmodel_bytes = 0", r"limits\.model_bytes"),
        ("name = 'a'\n[feedback]\ndrop_after = -1", r"feedback\.drop_after"),
        ("name = 'a'\nmin_updates = 0", r"min_updates is 0"),
        ("name = 'a'\nmin_updates = 2024-01-01", r"min_updates is datetime"),
        ("name = 'a'\ndelta_type = 'int4'", r"delta_type .*int8, int16, int32"),
        ("name = 'a'\npublication_seconds = 0", r"publication_seconds"),
        ("name = 'a'\nrederivation_margin_seconds = 2592001", r"rederivation_margin_seconds"),
        ("name = 'a'\nretention_seconds = 0", r"retention_seconds"),
        ("name = 'a'\nversion = 1", r"version is 1"),
        ("name = 'a'\nversion = 3", r"version is 3"),
        ("name = ", r"task\.toml cannot be parsed"),
        ("name = 'a'\nname = 'b'", r"task\.toml cannot be parsed"),
    ],
)
def test_refuses_written_tasks_and_names_the_field(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        load_task_toml(written(tmp_path, text))


@pytest.mark.parametrize(
    "content", [b"[]", b"{", b"\xff", b'{"name": "a", "speed": 1}', b"[" * 100_000, b'{"name": NaN}']
)
def test_refuses_written_json(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "task.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"task\.json"):
        load_task_toml(file)


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_task_toml(tmp_path / "missing.toml")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_task_toml(tmp_path)


def test_a_name_is_enough(tmp_path: Path) -> None:
    assert load_task_toml(written(tmp_path, "name = 'digits'")) == Task("digits")


def test_people_write_rationals_as_they_like(tmp_path: Path) -> None:
    text = """
        name = "Köln"
        [training]
        learning_rate = 0.1
        momentum = "0.90"
        [consolidation]
        strength = 10
        decay = "18/20"
        [credit]
        kappa = "4"
    """
    task = load_task_toml(written(tmp_path, text))
    assert task == Task(
        "Köln",
        training=Training(learning_rate=Fraction(1, 10), momentum=Fraction(9, 10)),
        consolidation=Consolidation(strength=Fraction(10), decay=Fraction(9, 10)),
        credit=CreditRule(kappa=Fraction(4)),
    )


def test_json_is_written_the_same_way(tmp_path: Path) -> None:
    text = '{"name": "a", "retention_seconds": null, "training": {"learning_rate": 0.25, "epochs": 2}}'
    task = load_task_toml(written(tmp_path, text, "task.json"))
    assert task == Task("a", training=Training(learning_rate=Fraction(1, 4), epochs=2))


def test_the_published_file_can_be_loaded_again(tmp_path: Path) -> None:
    (tmp_path / TASK_FILE).write_bytes(FILES["task"][TASK_FILE])
    assert load_task_toml(tmp_path / TASK_FILE) == TASK


@pytest.mark.parametrize("files", [{}, {"task.toml": b""}, {**FILES["task"], "more": b""}])
def test_refuses_other_files(files: dict[str, bytes]) -> None:
    with pytest.raises(WrongFiles):
        decode_task(files)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("training", "learning_rate", "2/6"),
        ("training", "learning_rate", "0.1"),
        ("training", "learning_rate", 1),
        ("training", "epochs", "5"),
        ("credit", "kappa", "4/1"),
        ("merge", "more", 1),
    ],
)
def test_a_published_task_has_one_spelling(section: str, name: str, value: object) -> None:
    content = json.loads(FILES["task"][TASK_FILE])
    content[section][name] = value
    with pytest.raises(WrongField, match=rf"task\.json: {section}\.{name}"):
        decode_task({TASK_FILE: json.dumps(content, sort_keys=True, separators=(",", ":")).encode()})


def test_a_published_task_is_canonical() -> None:
    with pytest.raises(NotCanonical):
        decode_task({TASK_FILE: FILES["task"][TASK_FILE] + b"\n"})


@pytest.mark.parametrize("changes", [{"name": ""}, {"min_updates": 0}, {"merge": MergeRule(examples_cap=0)}])
def test_encoding_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(WrongField):
        encode_task(replace(TASK, **changes))


def test_round_trip() -> None:
    assert decode_task(FILES["task"]) == TASK
    assert decode_task(encode_task(Task("plain"))) == Task("plain")


@pytest.mark.parametrize(("cap", "fits"), [(1 << 25, (1 << 16) - 1), (10**8, 21_990), ((1 << 41) - 1, 1), (1, 100_000)])
def test_bounds(cap: int, fits: int) -> None:
    task = replace(TASK, merge=MergeRule(examples_cap=cap), min_updates=1)
    check_bounds(task, fits)
    with pytest.raises(ArithmeticRefused):
        check_bounds(task, fits + 1)


@given(st.integers(1, (1 << 41) - 1), st.integers(1, MAX_REPORTED + 1))
def test_within_the_bounds_the_worst_merge_fits_int64(cap: int, updates: int) -> None:
    task = replace(TASK, merge=MergeRule(examples_cap=cap), min_updates=1)
    worst = max(limit << shift for shift, limit in WINDOW.values())
    try:
        check_bounds(task, updates)
    except ArithmeticRefused:
        assert updates * cap * (1 << 22) >= 1 << 63 or updates > MAX_REPORTED
    else:
        assert updates * cap * worst < 1 << 63


@pytest.mark.parametrize(("examples", "steps"), [(1, 5), (32, 5), (33, 10), (320, 50)])
def test_planned_steps(examples: int, steps: int) -> None:
    assert Training().planned_steps(examples) == steps


@given(st.integers(1, (1 << 41) - 1), st.integers(1, 1 << 12))
def test_planned_steps_stay_integers_that_json_keeps(examples: int, epochs: int) -> None:
    assert Training(batch_size=1, epochs=epochs).planned_steps(examples) < 1 << 53
