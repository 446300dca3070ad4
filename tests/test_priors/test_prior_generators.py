import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from registry_losses.errors import ConfigError, ShapeError
from registry_losses.priors import (
    AnchorGenerator,
    MlvlPointGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
    ssd_sizes,
)
from registry_losses.registry import TASK_UTILS
from registry_losses.structures import grid_points

DATA = Path(__file__).parents[1] / 'data' / 'components'


def reference_cases():
    for path in sorted(DATA.glob('prior_*.npz')):
        arrays = np.load(path)
        for case in json.loads(str(arrays['params']))['cases']:
            names = {name: arrays[f'{case["id"]}/{name}'] for name in case['arrays']}
            yield pytest.param(case, names, id=case['id'])


@pytest.mark.parametrize('case, arrays', list(reference_cases()))
def test_equals_mmdet_bit_for_bit(case, arrays):
    """Reference outputs of mmdet 3.3.0."""
    generator = TASK_UTILS.build(dict(case['kwargs']))
    sizes, pad = case['featmap_sizes_hw'], case['pad_shape_hw']
    points = isinstance(generator, MlvlPointGenerator)
    options = {'with_stride': True} if points else {}
    levels = generator.grid_priors(sizes, **options)
    flags = generator.valid_flags(sizes, pad)
    assert generator.num_base_priors == case['num_base_priors']
    assert generator.num_levels == len(sizes)
    for index, (boxes, valid) in enumerate(zip(levels, flags, strict=True)):
        assert np.array_equal(boxes, arrays[f'out_priors_{index}'])
        assert np.array_equal(valid, arrays[f'out_valid_{index}'])
        if f'out_base_{index}' in arrays:
            assert np.array_equal(generator.base_anchors[index], arrays[f'out_base_{index}'])
    priors = generator(sizes, image_sizes=torch.tensor([pad, [9999, 9999]]))
    whole = torch.cat(levels)
    if points:
        assert torch.equal(priors.centers, whole[:, :2])
        assert torch.equal(priors.strides, whole[:, 2:])
    else:
        assert torch.equal(priors.boxes, whole)
    if torch.cat(flags).all():
        assert priors.valid is None
    else:
        assert torch.equal(priors.valid[0], torch.cat(flags))
        assert priors.valid[1].all()


GENERATORS = {
    'anchor': lambda: AnchorGenerator([8, 16], ratios=[0.5, 2.0], scales=[2, 4]),
    'anchor_half': lambda: AnchorGenerator([(8, 4)], [1.0], [3], centers=[(2.0, 1.0)]),
    'base_sizes': lambda: AnchorGenerator([8], [1.0], [3], base_sizes=[6], center_offset=0.5),
    'yolo': lambda: YOLOAnchorGenerator([16, 8], [[(30, 20), (9, 40)], [(5, 5), (7, 3)]]),
    'ssd': lambda: SSDAnchorGenerator(
        [8, 16], [[2], [2, 3]], min_sizes=[9, 20], max_sizes=[20, 31]
    ),
    'point': lambda: MlvlPointGenerator([8, 16], box_scale=4.0),
    'point_corner': lambda: MlvlPointGenerator([(8, 4)], offset=0),
    'cell': lambda: MlvlPointGenerator([16], num_base=2, shared_classes=True),
}


@pytest.mark.parametrize('name', GENERATORS)
def test_levels_describe_the_boxes(name):
    """What a rule reasons about (Level) and what it computes with (boxes) is one grid."""
    generator = GENERATORS[name]()
    sizes = [(3, 4), (2, 5)][: generator.num_levels]
    priors = generator(sizes)
    at = 0
    for level, stride, (height, width) in zip(priors.levels, generator.strides, sizes):
        assert (level.height, level.width, level.stride) == (height, width, stride)
        centers = grid_points(level)
        for cell in range(height * width):
            for base_width, base_height in level.base_sizes:
                x1, y1, x2, y2 = priors.boxes[at].tolist()
                x, y = centers[cell].tolist()
                assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((x, y), abs=1e-4)
                assert (x2 - x1, y2 - y1) == pytest.approx((base_width, base_height), abs=1e-4)
                assert priors.centers[at].tolist() == pytest.approx([x, y], abs=1e-4)
                assert priors.strides[at].tolist() == list(stride)
                at += 1
    assert at == priors.num_priors


def test_anchor_shapes_by_hand():
    generator = AnchorGenerator([16], ratios=[0.25, 1.0], scales=[2])
    # Area 32 x 32; ratio 1/4: width 64, height 16. Ratios change fastest among one scale.
    assert generator.base_anchors[0].tolist() == [[-32, -8, 32, 8], [-16, -16, 16, 16]]
    octave = AnchorGenerator([8], ratios=[1.0], octave_base_scale=4, scales_per_octave=2)
    side = 8 * 4 * math.sqrt(2) / 2
    assert octave.base_anchors[0][1].tolist() == pytest.approx([-side, -side, side, side])


def test_order_of_scales_and_ratios():
    def widths(scale_major):
        generator = AnchorGenerator([1], [1.0, 4.0], [2, 10], scale_major=scale_major)
        anchors = generator.base_anchors[0]
        return (anchors[:, 2] - anchors[:, 0]).tolist()

    assert widths(True) == [2, 10, 1, 5]
    assert widths(False) == [2, 1, 10, 5]


def test_ssd_sizes():
    # The paper's table for COCO at 300: .07 .15 .33 .51 .69 .87, up to 1.05.
    assert ssd_sizes(300, (0.15, 0.9), 6) == (
        [21, 45, 99, 153, 207, 261],
        [45, 99, 153, 207, 261, 315],
    )
    assert ssd_sizes(128, (0.2, 0.9), 4)[0] == [12, 25, 70, 115]
    with pytest.raises(ConfigError, match='3 levels'):
        ssd_sizes(300, (0.2, 0.9), 2)


def test_image_independent_part_is_kept_and_the_cache_bounded():
    generator = AnchorGenerator([8], [1.0], [4])
    first = generator([(4, 4)])
    assert generator([(4, 4)]) is first
    assert generator([torch.Size((4, 4))]) is first
    masked = generator([(4, 4)], image_sizes=torch.tensor([[16, 32]]))
    assert masked.boxes is first.boxes
    for width in range(1, 60):
        generator([(4, width + 4)])
    assert len(generator._cache) <= 16
    assert torch.equal(generator([(4, 4)]).boxes, first.boxes)
    for copied in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        assert not copied._cache
        assert torch.equal(copied([(4, 4)]).boxes, first.boxes)


def test_valid_cells_begin_inside_the_padded_image():
    generator = MlvlPointGenerator([8])
    priors = generator([(3, 4)], image_sizes=torch.tensor([[16, 32], [17, 9]]))
    assert priors.valid.view(2, 3, 4).tolist() == [
        [[True] * 4, [True] * 4, [False] * 4],
        [[True, True, False, False]] * 3,
    ]
    assert generator([(3, 4)], image_sizes=torch.tensor([[24, 32], [17, 25]])).valid is None


def test_allowed_border():
    generator = AnchorGenerator([8], [1.0], [1], center_offset=0.5)  # boxes are the cells
    sizes = [(3, 3)]

    def inside(border, **options):
        valid = generator(sizes, allowed_border=border, **options).valid
        return None if valid is None else valid.view(-1, 3, 3).int().tolist()

    shape = {'image_sizes': torch.tensor([[24, 24]])}
    # The right and the lower limit are strict, as in OpenMMLab.
    assert inside(0, **shape) == [[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]
    assert inside(1, **shape) == [[[1] * 3] * 3]
    assert inside(-1, **shape) is None
    content = {**shape, 'border_sizes': torch.tensor([[9, 24]])}
    assert inside(0, **content) == [[[1, 1, 0], [0, 0, 0], [0, 0, 0]]]
    with pytest.raises(ConfigError, match='image_sizes'):
        generator(sizes, allowed_border=0)


def test_cells_that_share_a_class_vector():
    priors = GENERATORS['cell']()([(1, 2)])
    assert priors.class_row.tolist() == [0, 0, 1, 1]
    assert priors.num_class_rows == 2
    masked = GENERATORS['cell']()([(1, 2)], image_sizes=torch.tensor([[16, 16]]))
    assert masked.class_row.tolist() == [0, 0, 1, 1]
    assert masked.valid.tolist() == [[True, True, False, False]]


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: AnchorGenerator([8], [1.0]), 'either scales'),
        (
            lambda: AnchorGenerator([8], [1.0], [2], octave_base_scale=4, scales_per_octave=3),
            'either scales',
        ),
        (lambda: AnchorGenerator([8], [1.0], [2], base_sizes=[1, 2]), 'base_sizes: expected 1'),
        (lambda: AnchorGenerator([8], [1.0], [2], center_offset=2), '0 to 1'),
        (lambda: AnchorGenerator([8], [1.0], [2], centers=[(4, 2)]), 'must agree'),
        (
            lambda: AnchorGenerator([8], [1.0], [2], centers=[(4, 4)], center_offset=0.5),
            'not both',
        ),
        (lambda: AnchorGenerator([], [1.0], [2]), 'at least one level'),
        (lambda: MlvlPointGenerator([0]), 'positive'),
        (lambda: MlvlPointGenerator([8], offset=3), '0 to 1'),
        (lambda: MlvlPointGenerator([8], box_scale=0), 'box_scale'),
        (lambda: YOLOAnchorGenerator([8], []), 'one a stride'),
        (lambda: YOLOAnchorGenerator([8], [[(2, 2)]], use_box_type=True), 'plain tensors'),
        (lambda: SSDAnchorGenerator([8], [[2]], min_sizes=[3]), 'both'),
        (lambda: SSDAnchorGenerator([8], [[2]], scale_major=True), 'scale_major'),
        (lambda: SSDAnchorGenerator([8, 16], [[2]], [3, 4], [5, 6]), 'ratios: expected 2'),
    ],
)
def test_errors(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_another_number_of_maps_is_refused():
    with pytest.raises(ShapeError, match='expected 1 feature maps'):
        MlvlPointGenerator([8])([(2, 2), (1, 1)])
