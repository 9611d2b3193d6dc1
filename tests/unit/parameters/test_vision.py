import copy

import pytest
from pydantic import ValidationError

from fb_marketplace.parameters.vision import EvaluationParameters, VisionParameters


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ((), "class_balance", "class_weight_power"),
        ((), "path_photos", "min_photos_per_path"),
        (("fine_tuning",), "blocks", "trainable_blocks"),
        (("fine_tuning",), "averaging", "ema_decay"),
        (("fine_tuning", "augmentation"), "side", "crop_size"),
        (("embedding",), "power", "gem_p"),
        (("encoder",), "served", "precision"),
    ],
)
def test_old_vision_key_is_rejected_with_new_name(base_parameters, path, old, new):
    values = copy.deepcopy(base_parameters["vision"])
    section = values
    for name in path:
        section = section[name]
    section[old] = section.pop(new)

    with pytest.raises(ValidationError, match=f"`{old}` is now `{new}`"):
        VisionParameters.model_validate(values)


def test_old_weights_value_is_rejected_with_new_name(base_parameters):
    with pytest.raises(ValidationError, match="`usual` is now `default`"):
        VisionParameters.model_validate(base_parameters["vision"] | {"weights": "usual"})


def test_old_evaluation_key_is_rejected_with_new_name(base_parameters):
    values = dict(base_parameters["vision_evaluation"])
    values["worst_mistakes"] = values.pop("num_worst_errors")

    with pytest.raises(ValidationError, match="`worst_mistakes` is now `num_worst_errors`"):
        EvaluationParameters.model_validate(values)
