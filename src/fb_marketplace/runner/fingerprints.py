"""Fingerprints of nodes, and digests of the datasets that they read."""

import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline.node import Node

from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.datasets.path import PathDataset
from fb_marketplace.observability.versions import library_versions
from fb_marketplace.runner.source_code import code_digest
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import KEY
from fb_marketplace.storage.run_records import NodeFingerprint
from fb_marketplace_serving.storage.erasure_list import ErasureList
from fb_marketplace_serving.storage.lake import Lake

IGNORED_OPTIONS: Final = frozenset(["filepath", "version", "versioned", "credentials", "metadata"])
"""Options of a catalog entry that do not change its content."""

UNKNOWN: Final = "unknown"
"""Digest of an input whose content cannot be digested. A node that reads it always runs."""

SHORT: Final = 16
"""Characters of a digest in a fingerprint."""


def node_fingerprint(
    node: Node, catalog: DataCatalog, input_digests: dict[str, str]
) -> NodeFingerprint:
    """Compute the fingerprint of a node.

    Args:
        node: the node.
        catalog: the catalog of the run.
        input_digests: digest of each input that outputs depend on.
    """
    options = {name: _options(name, catalog) for name in sorted({*node.inputs, *node.outputs})}
    function = inspect.unwrap(node.func)
    modules = sorted({function.__module__, *_project_names(options)})
    return NodeFingerprint(
        code=code_digest(*modules)[:SHORT],
        libraries=_libraries(),
        options=digest(options),
        inputs=input_digests,
    )


def content_digest(name: str, catalog: DataCatalog) -> str:
    """Return a digest of a dataset's content; ``UNKNOWN`` if it has none.

    A Lance table is digested by its keys, which depend on everything that its rows depend on. A folder of
    the source is digested by its listing, and a file in an object store by its ETag.

    Raises:
        OSError: the dataset cannot be read.
    """
    dataset: Any = catalog.get(name)
    match dataset:
        case MemoryDataset():
            return digest(catalog.load(name)) if is_parameter(name) else UNKNOWN
        case LanceTableDataset():
            return digest(sorted(dataset.load().read([KEY]).column(KEY).to_pylist()))
        case PathDataset():
            return _location_digest(dataset.load())
    filesystem = getattr(dataset, "_filesystem", None) or getattr(dataset, "_fs", None)
    if filesystem is None or not hasattr(dataset, "_get_load_path"):
        return UNKNOWN
    return _files_digest(filesystem, str(dataset._get_load_path()))


def affects_outputs(dataset: Any) -> bool:
    """Check whether outputs depend on a dataset; its catalog entry may say that they do not."""
    metadata = getattr(dataset, "metadata", None) or {}
    return bool(metadata.get("affects_outputs", True))


def is_parameter(name: str) -> bool:
    """Check whether a dataset is a parameter."""
    return name == "parameters" or name.startswith("params:")


def _location_digest(location: Any) -> str:
    match location:
        case Lake():
            return digest(_listing(location.filesystem, location.root))
        case FileRef():
            file = Lake(location.url)
            return _files_digest(file.filesystem, file.root)
        case ErasureList():
            return digest(asdict(location))
    return UNKNOWN


def _files_digest(filesystem: Any, path: str) -> str:
    """Return a digest of a file, or of all files below a folder."""
    digests = [
        (name, tag or _file_digest(filesystem, f"{path}{name}"))
        for name, _, tag in _listing(filesystem, path, with_time=False)
    ]
    return digest(digests) if digests else UNKNOWN


def _file_digest(filesystem: Any, path: str) -> str:
    with filesystem.open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _listing(
    filesystem: Any, path: str, with_time: bool = True
) -> list[tuple[str, int, str | None]]:
    """List the files below a path: relative name, size, and the ETag or modification time."""
    tags = ("ETag", "etag", "mtime", "LastModified") if with_time else ("ETag", "etag")
    entries = filesystem.find(path, detail=True) if filesystem.exists(path) else {}
    return [
        (
            file.removeprefix(path),
            int(info["size"]),
            next((str(info[tag]) for tag in tags if info.get(tag)), None),
        )
        for file, info in sorted(entries.items())
    ]


def _options(name: str, catalog: DataCatalog) -> dict[str, Any]:
    config = catalog.config_resolver.config.get(name) or {}
    return {key: value for key, value in config.items() if key not in IGNORED_OPTIONS}


def _project_names(value: Any) -> Iterator[str]:
    """Yield the strings in nested options that name something of this project."""
    if isinstance(value, str) and value.startswith("fb_marketplace"):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _project_names(item)


@lru_cache(maxsize=1)
def _libraries() -> str:
    return digest(library_versions())


def digest(value: Any) -> str:
    """Return a digest of a value that can be written as JSON."""
    content = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_to_json)
    return hashlib.sha256(content.encode()).hexdigest()[:SHORT]


def _to_json(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return sorted(value) if isinstance(value, frozenset) else str(value)
