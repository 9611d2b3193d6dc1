"""Models of scikit-learn's as bytes, by skops: the same model gives the same bytes; no pickle."""

import io
import json
import zipfile
from typing import Any, Final

_SCHEMA: Final = "schema.json"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def dump_skops(model: Any) -> bytes:
    """Write a model, or a dictionary of such, as skops does, without what changes from run to run.

    skops names objects and the arrays beside them by their address in memory, and dates them; here
    they are numbered as they come, and all are of one date.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as written:
        schema = json.loads(written.read(_SCHEMA))
        names = _number(schema)
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as file:
            for old, new in names.items():
                _write(file, new, written.read(old))
            _write(file, _SCHEMA, json.dumps(schema).encode())
    return made.getvalue()


def load_skops(data: bytes) -> Any:
    """Read what :func:`dump_skops` wrote; types that skops does not itself trust are refused.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: the file holds another type.
    """
    import skops.io

    return skops.io.loads(data, trusted=[])


def _number(schema: dict[str, Any]) -> dict[str, str]:
    """Number objects and files in place, in the order in which they stand; gives new names of files."""
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    waiting: list[Any] = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if isinstance(found.get("__id__"), int):
                found["__id__"] = numbers.setdefault(found["__id__"], len(numbers))
            # What is called "file" inside a saved dictionary is an object, not a name.
            if isinstance(found.get("file"), str):
                suffix = found["file"].rpartition(".")[2]
                found["file"] = names.setdefault(found["file"], f"{len(names)}.{suffix}")
            # Where scikit-learn's vectorizers had their stop words in memory.
            if isinstance(found.get("_stop_words_id"), dict):
                found["_stop_words_id"]["content"] = "0"
            waiting.extend(reversed(found.values()))
        elif isinstance(found, list):
            waiting.extend(reversed(found))
    return names


def _write(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    file.writestr(entry, content)
