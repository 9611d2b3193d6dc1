import subprocess
import sys


def test_torchvision_and_timm_build_models():
    script = (
        "import torch\n"
        "from fb_marketplace.ml.torchvision_compat import import_timm, import_torchvision\n"
        "vision, timm = import_torchvision(), import_timm()\n"
        "assert import_torchvision() is vision\n"
        "photo = torch.zeros(1, 3, 64, 64)\n"
        "import importlib\n"
        "models = importlib.import_module('torchvision.models')\n"
        "assert models.resnet18(weights=None).eval()(photo).shape == (1, 1000)\n"
        "small = timm.create_model('tf_efficientnet_lite0', num_classes=7).eval()\n"
        "assert small(photo).shape == (1, 7)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )

    assert ended.returncode == 0, ended.stderr
