"""Weights outside an ONNX graph, wherever the graph may hide them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fb_marketplace_serving.encoders.external_data import has_external_data
from fb_marketplace_serving.encoders.image import Encoder, EncoderError


def external(name="weights"):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def internal():
    return numpy_helper.from_array(np.ones(4, np.float32), "weights")


def graph(tensor, nodes=()):
    return helper.make_graph(list(nodes), "graph", [], [], [tensor])


def in_initializer(tensor):
    return helper.make_model(graph(tensor))


def in_constant(tensor):
    node = helper.make_node("Constant", [], ["x"], value=tensor)
    return helper.make_model(graph(internal(), [node]))


def in_branch(tensor):
    node = helper.make_node(
        "If", ["c"], ["x"], then_branch=graph(tensor), else_branch=graph(internal())
    )
    return helper.make_model(graph(internal(), [node]))


def in_function(tensor):
    node = helper.make_node("Constant", [], ["x"], value=tensor)
    function = helper.make_function("own", "f", [], ["x"], [node], [helper.make_opsetid("", 18)])
    return helper.make_model(graph(internal()), functions=[function])


def in_sparse_initializer(tensor):
    model = helper.make_model(graph(internal()))
    model.graph.sparse_initializer.add(values=tensor, indices=internal(), dims=[4])
    return model


PLACES = [in_initializer, in_constant, in_branch, in_function, in_sparse_initializer]


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_other_files_are_detected(place):
    assert has_external_data(place(external()).SerializeToString())
    assert not has_external_data(place(internal()).SerializeToString())


def test_location_alone_is_detected():
    tensor = internal()
    tensor.data_location = TensorProto.EXTERNAL

    assert has_external_data(in_initializer(tensor).SerializeToString())


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x00ORTM", b"\x0f", b"\xff" * 20, b"\x3a\xff\x01"])
def test_other_bytes_are_rejected(data):
    with pytest.raises(ValueError, match=r"\b(found|ends|end)\b"):
        has_external_data(data)


def test_encoder_with_weights_in_other_files_is_rejected(build_encoder, tmp_path, monkeypatch):
    """ONNX Runtime would read them from the working folder."""
    model = onnx.load_from_string(build_encoder())
    onnx.save(
        model,
        tmp_path / "encoder.onnx",
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
        convert_attribute=True,
    )
    monkeypatch.chdir(tmp_path)

    with pytest.raises(EncoderError, match="weights in other files"):
        Encoder.from_bytes((tmp_path / "encoder.onnx").read_bytes())
