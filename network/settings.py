"""All settings in one frozen object: from the environment (RONDO_…), then a TOML file, then the defaults.

The only module that imports pydantic; commands import it when they run. What is secret (a passphrase) is no setting.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from protocol.errors import InvalidInput, SettingsError
from protocol.types import Address, FederationId, address, bytes32

DEFAULT_FILE = Path("rondo.toml")
T = TypeVar("T")


def _address(value: object) -> Address:
    try:
        return address(str(value))
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def _federation(value: object) -> bytes:
    try:
        return value if isinstance(value, bytes) else bytes32(str(value))
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def _path(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, (str, Path)) else value


AddressSetting = Annotated[Address, BeforeValidator(_address)]
PathSetting = Annotated[Path, BeforeValidator(_path)]


class Settings(BaseSettings):
    """Where everything is. The same code runs embedded on one machine and in production; only these differ.

    Attributes:
        chain_url: HTTP(S) JSON-RPC endpoint of an EVM node.
        contract: Address of the TrainingRounds contract; where it is not set, this version's is looked for on the chain.
        contract_block: Its block or any before it: where looking for events begins; 0 takes the address book's, if any.
        accept_other_code: Take the contract at that address though its code is not this version's.
        confirmations: Blocks that reads stay behind the latest.
        token: Address of the ERC-20 token that a new federation pays with.
        federation: Id of the federation that commands are about.
        store: Where artifacts are: ``dir:/path``, ``memory:``, ``kubo:/ip4/…``, ``gateway:https://…``, or several of them,
            with commas between, in the order in which they are asked. What an API wants to know of who asks is a secret
            and no setting: the variable RONDO_IPFS_AUTHORIZATION alone holds it.
        keystore: This role's key file.
        home: Directory of this role's own files.
        poll_seconds: How often a worker looks at the chain.
        relay_margin_seconds: Chain seconds before the end of training from which on a client that uses a relay sends
            its own transaction where its update is not on chain.
        rounds_kept: How many of the settled rounds that are over keep all that an audit of them reads.
    """

    model_config = SettingsConfigDict(env_prefix="RONDO_", frozen=True, extra="forbid", validate_default=True)

    chain_url: str = "http://127.0.0.1:8545"
    contract: AddressSetting | None = None
    contract_block: int = Field(default=0, ge=0)
    accept_other_code: bool = False
    confirmations: int = Field(default=0, ge=0)
    token: AddressSetting | None = None
    federation: Annotated[FederationId, BeforeValidator(_federation)] | None = None
    store: str = "dir:~/.rondo/store"
    keystore: PathSetting | None = None
    home: PathSetting = Path("~/.rondo")
    poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    relay_margin_seconds: int = Field(default=120, ge=1, le=90 * 86400)
    rounds_kept: int = Field(default=3, ge=0, le=1_000_000)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over arguments, which are the file's."""
        return env_settings, init_settings

    def require_token(self) -> Address:
        """Return ``token``. Raises SettingsError where it is not set."""
        return _required(self.token, "token")

    def require_federation(self) -> FederationId:
        """Return ``federation``. Raises SettingsError where it is not set."""
        return _required(self.federation, "federation")

    def require_keystore(self) -> Path:
        """Return ``keystore``. Raises SettingsError where it is not set."""
        return _required(self.keystore, "keystore")


def load_settings(config: Path | None = None) -> Settings:
    """Return the settings: each from its variable (``RONDO_CONTRACT``), else from the file, else its default.

    Args:
        config: The TOML file; by default the one that RONDO_CONFIG names, else ``rondo.toml`` in the working directory
            if there is one.

    Raises:
        SettingsError: The file is missing or no TOML, or a setting is unknown or wrong.
    """
    named = config or (Path(os.environ["RONDO_CONFIG"]).expanduser() if os.environ.get("RONDO_CONFIG") else None)
    file = named or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    from_file = _read(file) if file else {}
    try:
        return Settings(**from_file)
    except ValidationError as error:
        raise _wrong(error, file) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The settings file {file} cannot be read.", f"{type(error).__name__}.", "Check --config or RONDO_CONFIG."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The settings file {file} is no TOML.", f"{error}.", "Correct it.") from error


def _wrong(error: ValidationError, file: Path | None) -> SettingsError:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return SettingsError(f"{file} has an unknown setting {name}.", "", f"Known are: {known}.")
    where = f"The variable {_variable(name)}" if _variable(name) in os.environ else f"{name} in {file}"
    return SettingsError(f"{where} is wrong.", str(first["msg"]), "Correct it.")


def _variable(name: str) -> str:
    return "RONDO_" + name.upper()


def _required(value: T | None, name: str) -> T:
    if value is None:
        raise SettingsError(
            f"The setting {name} is missing.",
            "This command needs it.",
            f"Set {_variable(name)}, or {name} in rondo.toml.",
        )
    return value
