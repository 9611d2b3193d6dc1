"""The network that is served, and its export: one ONNX graph from pixels to answers."""

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.parameters import VisionParameters
from fb_marketplace.pipelines.vision.backbones import BACKBONES, build
from fb_marketplace_serving.encoder import EMBEDDING, INPUT, PROBABILITIES
from fb_marketplace_serving.photos import SIDE

if TYPE_CHECKING:
    import torch

OPSET: Final = 18


def assemble(
    parameters: VisionParameters, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> "torch.nn.Module":
    """Put backbone and head together.

    The network takes uint8 (n, 256, 256, 3) pixels of canonical photos and gives float32 (n, classes)
    probabilities and float32 (n, features) embeddings: the backbone's pooled features, to unit length.

    Args:
        parameters: the backbone and the side that photos are resized to for it.
        weight: of the head, (classes, features).
        bias: of the head, (classes,).
    """
    import torch

    backbone, side = BACKBONES[parameters.backbone], parameters.input_side

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = build(parameters.backbone, parameters.weights, parameters.seed)
            self.head = torch.nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                self.head.weight.copy_(torch.from_numpy(weight))
                self.head.bias.copy_(torch.from_numpy(bias))

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            channels_first = pixels.permute(0, 3, 1, 2).to(torch.float32)
            scaled = (channels_first / 255 - backbone.mean) / backbone.std
            if side != SIDE:
                scaled = torch.nn.functional.interpolate(
                    scaled, size=(side, side), mode="bilinear", align_corners=False
                )
            embedding = torch.nn.functional.normalize(self.trunk(scaled), dim=1)
            return torch.softmax(self.head(embedding), dim=1), embedding

    return Network().eval()


def export(network: "torch.nn.Module") -> bytes:
    """Export a network to ONNX: one file, weights inside, any number of photos at once."""
    import torch

    example = torch.zeros((2, SIDE, SIDE, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
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
