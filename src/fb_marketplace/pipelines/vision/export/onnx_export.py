"""Export to ONNX: pixels of stretched photos in, calibrated probabilities and an embedding out."""

import contextlib
import gc
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import POOL
from fb_marketplace_serving.encoders.image import EMBEDDING, INPUT, PROBABILITIES
from fb_marketplace_serving.imaging.canonical import SIDE

if TYPE_CHECKING:
    import torch

    from fb_marketplace.pipelines.vision.models.embedding_head import Layer, SecondBackbone
    from fb_marketplace.pipelines.vision.models.network import Network

OPSET: Final = 18


def export_trained(network: "Network", temperature: float, layer: "Layer") -> bytes:
    """Export a trained network with its temperature and embedding.

    Returns:
        ONNX: uint8 (n, 256, 256, 3) pixels in; out are ``probabilities``, float32 (n, classes), the
        softmax of the logits divided by the temperature, and ``embedding``, float32 (n, dimension), of
        unit length.
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
            embedding = self.layer(maps, hidden, pixels)
            return torch.softmax(logits / temperature, dim=1), embedding

    return export_graph(Served().eval())


def export_blocks(
    network: "Network", num_blocks: int, gem_p: float, second: "SecondBackbone | None" = None
) -> bytes:
    """Export a trained network with its last blocks, pooled, as ``embedding``; returns ONNX.

    The pooled blocks of a second backbone follow. Its ``probabilities`` are a placeholder of one column.
    """
    import torch

    from fb_marketplace.pipelines.vision.models.embedding_head import block_names, pool_blocks

    names = block_names(network, num_blocks)

    class Blocks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.second = network, second

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = pool_blocks(self.network.maps(pixels), names, gem_p)
            if self.second is not None:
                features = torch.cat([features, self.second(pixels)], dim=1)
            return features[:, :1], features

    return export_graph(Blocks().eval())


def export_trunk(parameters: VisionParameters) -> bytes:
    """Export the pretrained backbone with its pooled features as ``embedding``; returns ONNX.

    Its ``probabilities`` are a placeholder of one column.
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

    return export_graph(Pooled().eval())


def export_graph(
    network: "torch.nn.Module",
    example: "torch.Tensor | None" = None,
    input_name: str = INPUT,
    output_names: Sequence[str] = (PROBABILITIES, EMBEDDING),
) -> bytes:
    """Export to one ONNX file that contains the weights, for any batch size.

    Args:
        network: reads one tensor.
        example: a batch of two; None for photos, uint8 (2, 256, 256, 3).
        input_name: name of the input.
        output_names: names of the outputs.
    """
    import torch

    if example is None:
        example = torch.zeros((2, SIDE, SIDE, 3), dtype=torch.uint8)
    with warnings.catch_warnings(), _fast_tracing(network):
        # torch warns about its own internals.
        warnings.simplefilter("ignore", FutureWarning)
        program: Any = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[input_name],
            output_names=list(output_names),
            dynamic_shapes={input_name: {0: torch.export.Dim("photos", min=1, max=65536)}},
            opset_version=OPSET,
            verbose=False,
        )
    graph = program.model_proto
    _clear_metadata(graph)
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _fast_tracing(network: "torch.nn.Module") -> Iterator[None]:
    """Disable in-place activations and garbage collection, which saves two fifths of the export time.

    Decomposing in-place activations with symbolic shapes takes a third of it, and garbage collection a
    sixth of the rest.
    """
    in_place: list[Any] = [
        module for module in network.modules() if getattr(module, "inplace", False)
    ]
    gc_enabled = gc.isenabled()
    gc.disable()
    for module in in_place:
        module.inplace = False
    try:
        yield
    finally:
        for module in in_place:
            module.inplace = True
        if gc_enabled:
            gc.enable()


def _clear_metadata(graph: Any) -> None:
    """Remove the exporter's metadata, which has local paths and line numbers.

    Otherwise the same network would have another digest in another checkout, and all embeddings would be
    computed again.
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
