"""The one export: a graph in ONNX from pixels of canonical photos to calibrated answers."""

import contextlib
import gc
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import POOL
from fb_marketplace_serving.encoders.image import EMBEDDING, INPUT, PROBABILITIES
from fb_marketplace_serving.imaging.canonical import SIDE

if TYPE_CHECKING:
    import torch

    from fb_marketplace.pipelines.vision.models.embedding_head import Layer
    from fb_marketplace.pipelines.vision.models.network import Network

OPSET: Final = 18


def export_trained(network: "Network", temperature: float, layer: "Layer") -> bytes:
    """Export a trained network with its calibration; gives ONNX.

    The graph takes uint8 (n, 256, 256, 3) pixels and gives float32 (n, classes) ``probabilities``, the
    softmax of the logits divided by the temperature, and float32 (n, dimension) ``embedding``, the
    layer, of unit length.
    """
    import torch

    class Served(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.layer = network, layer

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            maps = self.network.maps(pixels)
            hidden = self.network.head.embed(maps[POOL])
            logits = self.network.head.classify(hidden)
            return torch.softmax(logits / temperature, dim=1), self.layer(maps, hidden)

    return _export(Served().eval())


def export_blocks(network: "Network", count: int, power: float) -> bytes:
    """Export a trained network so that ``embedding`` is its last so many levels, pooled; gives ONNX.

    Its ``probabilities`` are one column, and mean nothing.
    """
    import torch

    from fb_marketplace.pipelines.vision.models.embedding_head import block_names, pool_blocks

    levels = block_names(network, count)

    class Levels(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = pool_blocks(self.network.maps(pixels), levels, power)
            return features[:, :1], features

    return _export(Levels().eval())


def export_trunk(parameters: VisionParameters) -> bytes:
    """Export a backbone as it comes, so that ``embedding`` is its pooled features; gives ONNX.

    Its ``probabilities`` are one column, and mean nothing.
    """
    import torch

    from fb_marketplace.pipelines.vision.models.network import make_network

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = make_network(parameters, classes=1)

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.network.trunk(self.network.prepare(pixels))
            return features[:, :1], features

    return _export(Pooled().eval())


def _export(network: "torch.nn.Module") -> bytes:
    """Export to one file, weights inside, any number of photos at once."""
    import torch

    example = torch.zeros((2, SIDE, SIDE, 3), dtype=torch.uint8)
    with warnings.catch_warnings(), _traced_quickly(network):
        # torch warns of its own internals.
        warnings.simplefilter("ignore", FutureWarning)
        program: Any = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[PROBABILITIES, EMBEDDING],
            dynamic_shapes={INPUT: {0: torch.export.Dim("photos", min=1, max=65536)}},
            opset_version=OPSET,
            verbose=False,
        )
    graph = program.model_proto
    _forget_origin(graph)
    written: bytes = graph.SerializeToString(deterministic=True)
    return written


@contextlib.contextmanager
def _traced_quickly(network: "torch.nn.Module") -> Iterator[None]:
    """Save two fifths of an export's time.

    An activation in place is taken apart into others, with all shapes as symbols; a third of the time went
    there. Of the rest a sixth was looking for garbage among what the exporter needs to its end.
    """
    in_place: list[Any] = [
        module for module in network.modules() if getattr(module, "inplace", False)
    ]
    collecting = gc.isenabled()
    gc.disable()
    for module in in_place:
        module.inplace = False
    try:
        yield
    finally:
        for module in in_place:
            module.inplace = True
        if collecting:
            gc.enable()


def _forget_origin(graph: Any) -> None:
    """Drop the exporter's notes: they name this machine's folders and the lines of this file.

    With them the same network in another checkout would be another encoder, and all embeddings new.
    """
    for message in (
        graph,
        graph.graph,
        *graph.graph.node,
        *graph.graph.value_info,
        *graph.functions,
    ):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    for message in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        message.ClearField("metadata_props")
