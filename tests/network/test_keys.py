from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest
from eth_account import Account

from network.keys import keystore_address, named_address, new_keystore, open_keystore, passphrase
from protocol.errors import InvalidInput, KeyError_, SettingsError

CHEAP = 2**10  # scrypt cost, for tests alone


def no_prompt() -> str:
    raise AssertionError("nobody is to be asked")


def test_a_key_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "alice.json"
    address = new_keystore(path, "correct horse", CHEAP)
    account = open_keystore(path, "correct horse")
    assert account.address == address == keystore_address(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_a_version_3_keystore_of_the_stated_cost(tmp_path: Path) -> None:
    path = tmp_path / "alice.json"
    address = new_keystore(path, "correct horse", CHEAP)
    sealed = json.loads(path.read_text())
    assert sealed["version"] == 3
    assert sealed["crypto"]["kdf"] == "scrypt"
    assert sealed["crypto"]["kdfparams"]["n"] == CHEAP
    assert Account.from_key(Account.decrypt(sealed, "correct horse")).address == address


def test_the_standard_cost_is_the_default() -> None:
    assert new_keystore.__defaults__ == (2**18,)


def test_each_key_is_new(tmp_path: Path) -> None:
    assert new_keystore(tmp_path / "a", "p", CHEAP) != new_keystore(tmp_path / "b", "p", CHEAP)


def test_a_keystore_of_another_wallet_opens(tmp_path: Path) -> None:
    account = Account.create()
    path = tmp_path / "geth.json"
    path.write_text(json.dumps(Account.encrypt(account.key, "p", kdf="pbkdf2", iterations=10)))
    assert open_keystore(path, "p").address == account.address


def test_a_wrong_passphrase_is_refused_without_saying_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "alice.json"
    new_keystore(path, "correct horse", CHEAP)
    with pytest.raises(KeyError_, match="passphrase is wrong") as refusal:
        open_keystore(path, "wrong secret")
    key = open_keystore(path, "correct horse").key.hex()
    said = f"{refusal.value}{caplog.text}"
    assert not any(secret in said for secret in ("wrong secret", "correct horse", key))


def test_nothing_is_overwritten_and_no_passphrase_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "alice.json"
    with pytest.raises(KeyError_, match="empty"):
        new_keystore(path, "", CHEAP)
    assert not path.exists()
    new_keystore(path, "p", CHEAP)
    before = path.read_bytes()
    with pytest.raises(KeyError_, match="exists already"):
        new_keystore(path, "p", CHEAP)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"version": 3}', b'{"version": 1, "crypto": {}}', b"\xff\xfe"]
)
def test_what_is_no_keystore(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(KeyError_, match="no keystore of version 3"):
        open_keystore(path, "p")
    with pytest.raises(KeyError_, match="no keystore of version 3"):
        keystore_address(path)


def test_a_missing_keystore_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(KeyError_, match="There is no keystore"):
        open_keystore(tmp_path / "none", "p")
    with pytest.raises(KeyError_):
        open_keystore(tmp_path, "p")
    (tmp_path / "file").touch()
    with pytest.raises(KeyError_, match="cannot be written"):
        new_keystore(tmp_path / "file" / "key.json", "p", CHEAP)


def test_a_passphrase_comes_from_the_variable_the_file_or_the_person(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\nsecond line\n")
    assert passphrase(no_prompt, {"RONDO_PASSPHRASE": "from the variable"}) == "from the variable"
    assert passphrase(no_prompt, {"RONDO_PASSPHRASE_FILE": str(file)}) == "from the file"
    assert passphrase(lambda: "typed", {}) == "typed"
    with pytest.raises(SettingsError, match="both set"):
        passphrase(no_prompt, {"RONDO_PASSPHRASE": "a", "RONDO_PASSPHRASE_FILE": str(file)})
    with pytest.raises(KeyError_, match="cannot be read"):
        passphrase(no_prompt, {"RONDO_PASSPHRASE_FILE": str(tmp_path / "none")})


def test_a_passphrase_comes_from_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDO_PASSPHRASE", "p")
    monkeypatch.delenv("RONDO_PASSPHRASE_FILE", raising=False)
    assert passphrase(no_prompt) == "p"


def test_an_account_is_named_by_its_address_or_its_keystore(tmp_path: Path) -> None:
    path = tmp_path / "alice.json"
    alice = new_keystore(path, "correct horse", scrypt_n=2)
    assert named_address(str(path)) == named_address(alice) == alice
    with pytest.raises(InvalidInput, match="nobody"):
        named_address(str(tmp_path / "nobody.json"))
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(KeyError_, match="note"):
        named_address(str(tmp_path / "note.txt"))
