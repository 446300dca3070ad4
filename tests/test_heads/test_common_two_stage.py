"""Both stages together: gradients, raw outputs, settings, names of OpenMMLab."""

import pytest
import torch
from small_two_stage import CLASSES, images, losses_and_gradients, small_config

from registry_losses.config import check_config, translate_config
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = MODELS.build(small_config())
    built.init_weights()
    return built


def test_every_dense_head_can_propose():
    config = small_config()
    config['rpn_head'] = dict(
        config['rpn_head'],
        type='RetinaHead',
        stacked_convs=1,
        loss_cls=dict(type='FocalLoss'),
    )
    model = MODELS.build(config)
    losses = losses_and_gradients(model, [3, 2])
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'} < set(losses)


@pytest.mark.parametrize('counts', [(3, 2), (0, 2), (0, 0), (60, 1)])
def test_gradients_reach_every_parameter(model, counts):
    """With gts, without, and with more gts than proposals."""
    losses_and_gradients(model, counts)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    if sum(counts):
        for name, parameter in model.roi_head.named_parameters():
            assert parameter.grad.abs().sum() > 0, name


def test_raw_outputs_for_tools(model):
    maps, output = model.eval()(images(2), mode='tensor')
    assert len(maps[0]) == 3 and output['cls'].shape[-1] == CLASSES + 1


def test_settings_that_nothing_reads_are_refused():
    config = small_config()
    config['train_cfg']['rcn'] = {}
    with pytest.raises(ConfigError, match=r'train_cfg\.rcn\b'):
        MODELS.build(config)
    for part, key in (('rpn', 'smapler'), ('rcnn', 'nms_pre'), ('rpn_proposal', 'sampler')):
        config = small_config()
        config['train_cfg'][part][key] = None
        with pytest.raises(ConfigError, match=rf'model\.train_cfg\.{part}\.{key}'):
            check_config(dict(model=config))


def test_openmmlab_names_are_translated():
    """FasterRCNN, StandardRoIHead and the keys of their settings, as OpenMMLab writes them."""
    from mmengine.config import Config

    config = small_config(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'))
    config['type'], config['roi_head']['type'] = 'FasterRCNN', 'StandardRoIHead'
    config['train_cfg']['rpn'].update(pos_weight=-1, debug=False, allowed_border=-1)
    config['train_cfg']['rcnn'].update(pos_weight=-1, debug=False)
    config['train_cfg']['rcnn']['mask_size'] = 28
    config['roi_head']['bbox_head']['cls_predictor_cfg'] = dict(type='Linear')
    cfg = Config(dict(model=config))
    translate_config(cfg)
    check_config(cfg)
    model = MODELS.build(cfg.model)
    assert type(model).__name__ == 'TwoStageDetector'
    assert [term.kind for term in model.roi_head.loss_terms] == ['classification', 'box_decoded']
    cfg.model.roi_head.mask_head = dict(type='FCNMaskHead')
    with pytest.raises(ConfigError, match='instance masks'):
        translate_config(cfg)
