"""OpenPose's head: stages that read the ones before, one background beside the joints."""

import pytest
import torch

from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS

STAGE = dict(kernels=(3,), channels=(4,))


def openpose(**options):
    return MODELS.build(
        dict(
            type='OpenPoseHead', skeleton='coco_17', in_channels=2, **{'stages': [STAGE], **options}
        )
    )


@pytest.mark.parametrize('shared', [False, True])
def test_a_later_stage_reads_features_maps_and_fields(shared):
    built = openpose(stages=[STAGE, STAGE], shared=shared)
    limbs = built.skeleton.num_limbs
    first, later = (
        (stage['trunk'] if shared else stage['heatmap'])[0].conv.in_channels
        for stage in built.stages
    )
    assert (first, later) == (2, 2 + 18 + 2 * limbs)
    (confidence,), (field,) = built([torch.zeros(1, 2, 4, 6)])
    assert confidence.shape == (2, 1, 18, 4, 6) and field.shape == (2, 1, 2 * limbs, 4, 6)


def test_the_background_is_one_of_eighteen_maps():
    heat, background, field = openpose().loss_terms
    assert (heat.factor, background.factor) == pytest.approx((17 / 18, 1 / 18))
    assert background.background and field.kind == 'field'


def test_joints_are_rare_and_the_background_is_everywhere_at_first():
    built = openpose()
    built.init_weights()
    bias = built.stages[0]['heatmap'][-1].bias
    assert bias[:-1].tolist() == pytest.approx([0.01] * 17)
    assert bias[-1].item() == pytest.approx(0.99)


def test_stages_have_as_many_kernels_as_channels():
    for stages in ([], [dict(kernels=(3, 3), channels=(4,))]):
        with pytest.raises(ConfigError, match='as many kernels as channels'):
            openpose(stages=stages)
