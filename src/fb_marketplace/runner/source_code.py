"""Digest of the source code that a function depends on."""

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import fb_marketplace
import fb_marketplace_serving

_PACKAGES: Final = {
    package.__name__: Path(str(package.__file__)).parent
    for package in (fb_marketplace, fb_marketplace_serving)
}


@lru_cache(maxsize=1024)
def code_digest(*modules: str) -> str:
    """Return a digest of modules of this project and of all project modules that they import.

    Imports inside functions count too. Other files of a module's folder, such as templates, count as part
    of the module.

    Args:
        modules: dotted names. A name below a module, such as that of a class, counts as the module.

    Returns:
        SHA-256, in hex.
    """
    pending, files = list(modules), set[Path]()
    while pending:
        file = _module_file(pending.pop())
        if file is None or file in files:
            continue
        files.add(file)
        pending += _imports(file)
    digest = hashlib.sha256()
    data_files = {path for file in files for path in _data_files(file.parent)}
    for path in sorted(files | data_files):
        digest.update(f"{path.name} {_file_digest(path)}".encode())
    return digest.hexdigest()


def _module_file(name: str) -> Path | None:
    """Return the file of a module, or of the module that a dotted name is in."""
    package, *parts = name.split(".")
    if package not in _PACKAGES:
        return None
    path = _PACKAGES[package]
    for part in parts:
        if (path / f"{part}.py").is_file():
            return path / f"{part}.py"
        if not (path / part).is_dir():
            break
        path /= part
    return path / "__init__.py"


@lru_cache(maxsize=1024)
def _imports(file: Path) -> tuple[str, ...]:
    return tuple(_imported_names(ast.parse(file.read_bytes())))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@lru_cache(maxsize=1024)
def _data_files(folder: Path) -> tuple[Path, ...]:
    return tuple(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in (".py", ".pyc") and not path.name.startswith(".")
    )


@lru_cache(maxsize=1024)
def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
