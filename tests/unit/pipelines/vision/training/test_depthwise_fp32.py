import copy

import pytest
import torch

from fb_marketplace.pipelines.vision.training.depthwise_fp32 import keep_depthwise_in_fp32


@pytest.fixture
def block():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(8, 8, 3, groups=8, bias=False), torch.nn.Conv2d(8, 4, 1, bias=False)
    )


def test_depthwise_convolution_is_exact_under_bf16(block):
    photos = torch.randn(2, 8, 6, 6)
    exact = block[0](photos)

    keep_depthwise_in_fp32(block)

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(block[0](photos), exact)
        assert block[1](exact).dtype == torch.bfloat16


def test_frozen_convolution_computes_in_bf16(block):
    block[0].requires_grad_(False)

    keep_depthwise_in_fp32(block)

    with torch.autocast("cpu", torch.bfloat16):
        assert block[0](torch.randn(2, 8, 6, 6)).dtype == torch.bfloat16


def test_weight_names_are_unchanged(block):
    names = list(block.state_dict())

    keep_depthwise_in_fp32(block)

    assert list(block.state_dict()) == names


def test_copy_uses_its_own_weights(block):
    keep_depthwise_in_fp32(block)
    other = copy.deepcopy(block)
    with torch.no_grad():
        other[0].weight.zero_()

    assert not other(torch.randn(2, 8, 6, 6)).any()
    assert block(torch.randn(2, 8, 6, 6)).any()
