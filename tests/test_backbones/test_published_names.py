"""Names and shapes of backbone and neck equal those of published checkpoints.

``tests/data/state_dicts`` holds the ``state_dict`` names and shapes of mmdet 3.3.0, MMYOLO
0.6.0 and MMPose 1.3.2 systems; a checkpoint of such a system loads strictly if they are equal.
"""

import json
from pathlib import Path

import pytest
import torch

import registry_losses  # noqa: F401  registers
from registry_losses.registry import MODELS

STATE_DICTS = Path(__file__).parents[1] / 'data' / 'state_dicts'

RESNET_WIDTHS = [256, 512, 1024, 2048]
S = {'deepen_factor': 0.33, 'widen_factor': 0.5}
SYSTEMS = {
    'retinanet_r50_fpn': (
        {'type': 'ResNet', 'depth': 50},
        {
            'type': 'FPN',
            'in_channels': RESNET_WIDTHS,
            'out_channels': 256,
            'start_level': 1,
            'add_extra_convs': 'on_input',
            'num_outs': 5,
        },
    ),
    'fcos_r50_fpn': (
        {
            'type': 'ResNet',
            'depth': 50,
            'style': 'caffe',
            'norm_cfg': {'type': 'BN', 'requires_grad': False},
        },
        {
            'type': 'FPN',
            'in_channels': RESNET_WIDTHS,
            'out_channels': 256,
            'start_level': 1,
            'add_extra_convs': 'on_output',
            'num_outs': 5,
            'relu_before_extra_convs': True,
        },
    ),
    'atss_r50_fpn': (
        {'type': 'ResNet', 'depth': 50},
        {
            'type': 'FPN',
            'in_channels': RESNET_WIDTHS,
            'out_channels': 256,
            'start_level': 1,
            'add_extra_convs': 'on_output',
            'num_outs': 5,
        },
    ),
    'faster_rcnn_r50_fpn': (
        {'type': 'ResNet', 'depth': 50},
        {'type': 'FPN', 'in_channels': RESNET_WIDTHS, 'out_channels': 256, 'num_outs': 5},
    ),
    'centernet_r18': (
        {'type': 'ResNet', 'depth': 18},
        {
            'type': 'CTResNetNeck',
            'in_channels': 512,
            'num_deconv_filters': (256, 128, 64),
            'num_deconv_kernels': (4, 4, 4),
            'use_dcn': False,
        },
    ),
    'ssd300_vgg16': ({'type': 'SSDVGG', 'depth': 16}, {'type': 'SSDNeck'}),
    'yolov3_d53': (
        {'type': 'Darknet', 'depth': 53},
        {
            'type': 'YOLOV3Neck',
            'num_scales': 3,
            'in_channels': [1024, 512, 256],
            'out_channels': [512, 256, 128],
        },
    ),
    'yolov5_s': (
        {'type': 'YOLOv5CSPDarknet', **S},
        {
            'type': 'YOLOv5PAFPN',
            'in_channels': [256, 512, 1024],
            'out_channels': [256, 512, 1024],
            'num_csp_blocks': 3,
            **S,
        },
    ),
    'ae_hrnet_w32': ({'type': 'HRNet'}, None),
}


@pytest.mark.parametrize('system', SYSTEMS)
def test_names_shapes_and_order_equal_the_published(system):
    reference = json.loads((STATE_DICTS / f'{system}.json').read_text())
    for prefix, cfg in zip(('backbone.', 'neck.'), SYSTEMS[system], strict=True):
        expected = [(k, v) for k, v in reference.items() if k.startswith(prefix)]
        if cfg is None:
            assert not expected
            continue
        with torch.device('meta'):
            module = MODELS.build(cfg)
        got = [(prefix + k, list(v.shape)) for k, v in module.state_dict().items()]
        assert got == expected


def test_no_part_of_a_reference_is_left_out():
    for system in SYSTEMS:
        reference = json.loads((STATE_DICTS / f'{system}.json').read_text())
        parts = {key.split('.')[0] for key in reference}
        assert parts <= {'backbone', 'neck', 'bbox_head', 'rpn_head', 'roi_head', 'head'}
