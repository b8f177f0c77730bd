"""Settings are brought up to date in a file that a person edits as well."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.settings_file import update_settings
from protocol.errors import SettingsError

CHAIN = {"chain_url": "http://127.0.0.1:2", "token": "0x22"}
FIRST = {"store": "dir:/here"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rondo.toml"


# --- what is refused, and left as it is ---


@pytest.mark.parametrize("text", ["chain_url = ", "= 1", 'chain_url = "a"\nchain_url = "b"\n', "\ufeffnonsense"])
def test_what_is_no_toml_is_not_touched(text: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=f"{file} cannot be brought up to date"):
        update_settings(file, CHAIN, FIRST)
    assert file.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        'chain_url = """\nhttp://x"""\n',  # on two lines
        'note = """\nchain_url = 1\n"""\nchain_url = "http://x"\n',  # only looks like one
        '[chain_url]\nx = "a table"\n',
    ],
)
def test_what_cannot_be_replaced_in_its_line_is_not_guessed_at(text: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match="chain_url"):
        update_settings(file, CHAIN, FIRST)


def test_what_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="UnicodeDecodeError"):
        update_settings(file, CHAIN, FIRST)
    file.unlink()
    file.mkdir()
    with pytest.raises(SettingsError, match="IsADirectoryError"):
        update_settings(file, CHAIN, FIRST)


# --- what is done ---


def test_a_new_file_has_all(file: Path) -> None:
    assert tomllib.loads(update_settings(file, CHAIN, FIRST)) == CHAIN | FIRST


def test_a_persons_lines_stay_as_they_are(file: Path) -> None:
    mine = '# mine\nfederation = "0x11"   # the one\nconfirmations = 3\n\nstore = "kubo:/ip4/127.0.0.1/tcp/5001"\n'
    file.write_text('token="0x1"\n' + mine)
    text = update_settings(file, CHAIN, FIRST)
    assert text == 'chain_url = "http://127.0.0.1:2"\ntoken = "0x22"\n' + mine


def test_what_is_right_already_is_not_written_again(file: Path) -> None:
    text = "# all well\n  'token'='0x22' # mine\n\"chain_url\" = 'http://127.0.0.1:2'\nstore='dir:/elsewhere'\n"
    file.write_text(text)
    assert update_settings(file, CHAIN, FIRST) == text


def test_new_ones_go_before_any_table(file: Path) -> None:
    file.write_text("[mine]\ntoken = 5\n")
    assert tomllib.loads(update_settings(file, CHAIN, {})) == {**CHAIN, "mine": {"token": 5}}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20))
def test_any_value_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.mktemp("settings") / "rondo.toml"
    for _ in range(2):  # new, then in its place
        file.write_text(update_settings(file, {"store": value}, {}), encoding="utf-8", newline="")
        assert tomllib.loads(file.read_bytes().decode())["store"] == value
        file.write_text('store = "old"\nhome = "kept"\n')
    assert tomllib.loads(update_settings(file, {"store": value}, {})) == {"store": value, "home": "kept"}
