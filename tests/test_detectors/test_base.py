"""What all detectors share: the three modes, where settings stand, one layout in memory."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from registry_losses.detectors import BottomupPoseEstimator
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS

MODELS_OF = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
MODEL = Config.fromfile(MODELS_OF / 'centernet_tiny.py').model
POSE = Config.fromfile(MODELS_OF / 'openpose_tiny.py').model


@pytest.fixture(scope='module')
def model():
    return MODELS.build(MODEL)


def test_modes(model):
    images = torch.zeros(1, 3, 32, 32)
    assert model.with_neck and len(model.extract_feat(images)) == 1
    assert {name.shape[-1] for maps in model(images) for name in maps} == {8}
    for mode in ('loss', 'predict'):
        with pytest.raises(ValueError, match=f"mode '{mode}' needs data_samples"):
            model(images, mode=mode)
    with pytest.raises(ValueError, match="expected 'loss', 'predict' or 'tensor', got 'train'"):
        model(images, mode='train')


@pytest.mark.parametrize('key', ['train_cfg', 'test_cfg'])
def test_settings_stand_in_one_place(key):
    twice = dict(MODEL, bbox_head=dict(MODEL.bbox_head, **{key: MODEL[key]}))
    with pytest.raises(ConfigError, match=f'{key} stands both in the detector and in bbox_head'):
        MODELS.build(twice)


def test_channels_last_of_the_pose_estimator_still_works():
    with pytest.warns(DeprecationWarning, match='ChannelsLastHook'):
        model = MODELS.build(dict(POSE, channels_last=True))
    model.eval()
    assert isinstance(model, BottomupPoseEstimator) and not hasattr(model, 'channels_last')
    images = torch.zeros(1, 3, 32, 32)
    (maps,) = model.extract_feat(images)
    assert maps.is_contiguous(memory_format=torch.channels_last)
