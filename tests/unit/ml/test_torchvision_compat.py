import torch

from fb_marketplace.ml.torchvision_compat import import_timm, import_torchvision


def test_torchvision_and_timm_build_models():
    vision, timm = import_torchvision(), import_timm()
    photo = torch.zeros(1, 3, 64, 64)

    assert import_torchvision() is vision
    assert vision.models.resnet18(weights=None).eval()(photo).shape == (1, 1000)
    small = timm.create_model("tf_efficientnet_lite0", num_classes=7).eval()
    assert small(photo).shape == (1, 7)
