"""The import arrows of the packages (CONTRIBUTING: Arrows), read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "network", "processor", "organization", "client", "auditor", "rondo")
ALLOWED = {
    "protocol": {"protocol"},
    "network": {"network", "protocol"},
    "processor": {"processor", "protocol"},
    "organization": {"organization", "processor", "network", "protocol"},
    "client": {"client", "processor", "network", "protocol"},
    "auditor": {"auditor", "processor", "network", "protocol"},
    "rondo": set(PACKAGES),
}
FOREIGN_ONLY_IN = {
    "tensorflow": {"client", "organization"},
    "keras": {"client", "organization"},
    "brownie": set(),
    "web3": {"network"},
    "ipfshttpclient": {"network"},
    "fastapi": {"organization"},
}
OUTSIDE_WORLD = {"web3", "httpx", "requests", "socket", "subprocess", "pathlib", "time", "os", "random", "secrets"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_one_way(package: str) -> None:
    for path in sources(package):
        crossing = (imports(path) & set(PACKAGES)) - ALLOWED[package]
        assert not crossing, f"{path.relative_to(ROOT)} imports {crossing}"


@pytest.mark.parametrize("foreign", FOREIGN_ONLY_IN)
def test_each_foreign_package_enters_by_its_own_door(foreign: str) -> None:
    for package in PACKAGES:
        for path in sources(package):
            if foreign in imports(path):
                assert package in FOREIGN_ONLY_IN[foreign], f"{path.relative_to(ROOT)} imports {foreign}"


@pytest.mark.parametrize("package", ["processor"])
def test_the_processor_touches_nothing_outside(package: str) -> None:
    for path in sources(package):
        assert not imports(path) & OUTSIDE_WORLD, f"{path.relative_to(ROOT)} reaches outside"


def test_packages_have_files_to_read() -> None:
    assert all(len(sources(package)) > 2 for package in PACKAGES)


@pytest.mark.parametrize("module", ["rondo.cli", "auditor.rederive", "processor.round"])
def test_tensorflow_stays_away(module: str) -> None:
    probe = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_the_command_imports_nothing_slow() -> None:
    probe = (
        "import sys, rondo.cli; "
        "sys.exit(', '.join(n for n in ('web3', 'tensorflow', 'keras', 'pydantic', 'numpy', 'fastapi') if n in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
