"""Import of torchvision and timm with a CPU build of torch.

torchvision on PyPI is built against CUDA. With a CPU build of torch its import fails with "operator
torchvision::nms does not exist": the C++ operators do not load, but their fake implementations are
registered. Declaring the two missing operators is enough for models, transforms and export; the operators
and ``torchvision.io`` do not work. If the builds match, nothing changes.
"""

import importlib
import sys
from types import ModuleType
from typing import Any, Final

_SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # keeps the library alive: its declarations end with it


def import_torchvision() -> ModuleType:
    """Import torchvision; declare its missing operators if necessary."""
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
    """Import timm after torchvision."""
    import_torchvision()
    return importlib.import_module("timm")
