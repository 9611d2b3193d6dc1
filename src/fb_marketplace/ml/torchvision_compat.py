"""The one door to torchvision (and to timm, which imports it).

The wheel of torchvision on PyPI is built against CUDA. Under a CPU build of torch its import dies on
"operator torchvision::nms does not exist": the C++ operators do not load, but their fake versions are
registered all the same. Declaring the two that are asked for is enough; models, transforms and export
then work, and only the operators themselves and ``torchvision.io`` do not. On a matching pair this
does nothing.
"""

import importlib
import sys
from types import ModuleType
from typing import Any, Final

_SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # a library that is collected takes its declarations with it


def import_torchvision() -> ModuleType:
    """Import torchvision, mended where it must be."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)
    return importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """Import timm, over a torchvision that works."""
    import_torchvision()
    return importlib.import_module("timm")
