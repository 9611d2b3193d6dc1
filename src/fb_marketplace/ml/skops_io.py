"""Serialization of scikit-learn models by skops: reproducible bytes, no pickle."""

import io
import json
import zipfile
from typing import Any, Final

_SCHEMA: Final = "schema.json"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def dump_skops(model: Any) -> bytes:
    """Serialize a model or a dictionary of models; the same model gives the same bytes.

    skops names objects and arrays by memory address and writes the current date. Here they are numbered in
    document order, and the date is constant.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as source:
        schema = json.loads(source.read(_SCHEMA))
        names = _number(schema)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for old, new in names.items():
                _write(file, new, source.read(old))
            _write(file, _SCHEMA, json.dumps(schema).encode())
    return buffer.getvalue()


def load_skops(data: bytes) -> Any:
    """Deserialize the output of :func:`dump_skops`; only types that skops trusts are accepted.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: the file has another type.
    """
    import skops.io

    return skops.io.loads(data, trusted=[])


def _number(schema: dict[str, Any]) -> dict[str, str]:
    """Number objects and files in place, in document order; returns the new names of files."""
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    stack: list[Any] = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("__id__"), int):
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
            # "file" inside a saved dictionary is an object, not a name.
            if isinstance(node.get("file"), str):
                suffix = node["file"].rpartition(".")[2]
                node["file"] = names.setdefault(node["file"], f"{len(names)}.{suffix}")
            # Address of the stop words of scikit-learn's vectorizers.
            if isinstance(node.get("_stop_words_id"), dict):
                node["_stop_words_id"]["content"] = "0"
            stack.extend(reversed(node.values()))
        elif isinstance(node, list):
            stack.extend(reversed(node))
    return names


def _write(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    file.writestr(entry, content)
