"""Photos per second of the encoder, by runtime and precision, compared with torch eager.

One exported graph on the same photos: torch eager (fp32, and bf16 with channels last), ONNX Runtime fp32
and int8, OpenVINO by default (bf16 if the CPU supports it) and in fp32. All take uint8 pixels of canonical
photos and return probabilities and embeddings. The mean cosine is to the embeddings of torch fp32.

Expected before the first run: ONNX Runtime int8 4x torch eager fp32 on ResNet50, OpenVINO bf16 close to it;
on EfficientNet-lite2, whose depthwise layers are memory-bound, about 2x ONNX Runtime fp32.

Then the embedding stage with the recommended encoder (:mod:`extraction`); ``--extraction`` runs only that.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from extraction import print_extraction
from numpy.typing import NDArray
from photos_of_sample import sample_photos
from training import recipe

from fb_marketplace.compute.threads import available_cores
from fb_marketplace.pipelines.vision.export.onnx_export import export_trained
from fb_marketplace.pipelines.vision.export.quantization import quantize
from fb_marketplace.pipelines.vision.models.backbones import HIDDEN, POOL
from fb_marketplace.pipelines.vision.models.embedding_head import Layer
from fb_marketplace.pipelines.vision.models.network import Network, make_network
from fb_marketplace_serving.encoders.image import INPUT, Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import stretch_content

ROUNDS = 5
BATCHES = (1, 16)
CALIBRATION = 64
LAYER_OF = {"resnet50": HIDDEN, "efficientnet_lite2": POOL}
Way = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def main() -> None:
    """Print the table of each backbone, and that of the embedding stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=64, help="photos per round")
    parser.add_argument("--weights", default="default", help="of EfficientNet-lite2")
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "efficientnet_lite2"])
    parser.add_argument("--extraction", action="store_true", help="the embedding stage only")
    args = parser.parse_args()
    if not args.extraction:
        compare_runtimes(args.photos, args.weights, args.backbones)
    parameters = recipe("efficientnet_lite2", blocks=1).model_copy(update={"weights": args.weights})
    network = make_network(parameters, classes=13)
    print_extraction(export_trained(network, 1.0, Layer(network, POOL)))


def compare_runtimes(count: int, weights: str, backbones: Sequence[str]) -> None:
    """Print one table per backbone.

    Args:
        count: photos per round.
        weights: of EfficientNet-lite2.
        backbones: names.
    """
    with tempfile.TemporaryDirectory() as folder:
        images = sample_photos(Path(folder), count + CALIBRATION)
        jpegs = images.take(range(count), ["jpeg"]).column("jpeg").to_pylist()
        pixels = np.stack([stretch_content(canonical.decode_canonical(jpeg)) for jpeg in jpegs])
        for backbone in backbones:
            parameters = recipe(backbone, blocks=1).model_copy(
                update={"weights": "none", "input_side": 224}
                if backbone == "resnet50"
                else {"weights": weights, "input_side": 256}
            )
            network = make_network(parameters, classes=13)
            layer = Layer(network, LAYER_OF[backbone]).eval()
            graph = export_trained(network, 1.0, layer)
            # Calibrated on other photos than those of the table.
            int8 = quantize(graph, images, list(range(count, count + CALIBRATION)))
            compare(backbone, parameters.input_side, ways(network, layer, graph, int8), pixels)


def ways(network: Network, layer: Layer, graph: bytes, int8: bytes) -> dict[str, Way]:
    """Return each runtime as a function from pixels to embeddings, torch in fp32 first."""
    return {
        "torch eager fp32": torch_way(network, layer, torch.float32),
        "torch bf16 channels_last": torch_way(network, layer, torch.bfloat16),
        "ONNX Runtime fp32": onnxruntime_way(graph),
        "ONNX Runtime int8": onnxruntime_way(int8),
        "OpenVINO default": openvino_way(graph, ""),
        "OpenVINO fp32": openvino_way(graph, "f32"),
        "OpenVINO int8": openvino_way(int8, ""),
    }


def compare(backbone: str, side: int, runtimes: dict[str, Way], pixels: NDArray[np.uint8]) -> None:
    """Time all runtimes in rounds; print medians, and ratios to the first within a round."""
    exact = run(next(iter(runtimes.values())), pixels, 16)
    print(
        f"\n{backbone} at {side} px{'':>12} {'cosine':>8}"
        + "".join(f"{f'batch {size}':>20}" for size in BATCHES)
    )
    rates: dict[tuple[str, int], list[float]] = {
        (name, size): [] for name in runtimes for size in BATCHES
    }
    for _ in range(ROUNDS):
        for size in BATCHES:
            for name, way in runtimes.items():
                run(way, pixels[:size], size)
                started = time.perf_counter()
                run(way, pixels, size)
                rates[name, size].append(len(pixels) / (time.perf_counter() - started))
    first = next(iter(runtimes))
    for name, way in runtimes.items():
        answers = run(way, pixels, 16)
        cosine = float(np.mean(np.sum(exact * answers, axis=1)))
        line = f"{name:28} {cosine:8.4f}"
        for size in BATCHES:
            ratio = statistics.median(
                a / b for a, b in zip(rates[name, size], rates[first, size], strict=True)
            )
            line += f"{statistics.median(rates[name, size]):11.1f}/s {ratio:5.2f}x"
        print(line, flush=True)


def run(way: Way, pixels: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Encode photos in batches."""
    cuts = (pixels[start : start + size] for start in range(0, len(pixels), size))
    return np.concatenate([way(cut) for cut in cuts])


def torch_way(network: Network, layer: Layer, precision: torch.dtype) -> Way:
    """Return torch eager; channels last on a copy, as the layout stays with the network."""
    import copy

    if precision == torch.bfloat16:
        network = copy.deepcopy(network).to(memory_format=torch.channels_last)

    def encode(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)
        with torch.no_grad(), mixed:
            maps = network.maps(torch.from_numpy(pixels))
            embeddings = layer(maps, network.head.embed(maps[POOL]))
        return embeddings.float().numpy()

    return encode


def onnxruntime_way(graph: bytes) -> Way:
    """Return ONNX Runtime, as the server uses it."""
    encoder = Encoder.from_bytes(graph, available_cores())
    return lambda pixels: encoder.encode(pixels).embeddings


def openvino_way(graph: bytes, precision: str) -> Way:
    """Return OpenVINO."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": available_cores()}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "encoder.onnx")
        path.write_bytes(graph)
        model = openvino.Core().compile_model(str(path), "CPU", settings)
    output = model.output("embedding")
    return lambda pixels: np.array(model({INPUT: pixels})[output])


if __name__ == "__main__":
    main()
