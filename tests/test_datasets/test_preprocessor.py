"""Normalising, padding and batching."""

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from registry_losses.datasets import BatchRandomResize, DetDataPreprocessor
from registry_losses.errors import ConfigError, ShapeError
from registry_losses.registry import MODELS
from registry_losses.structures import DetDataSample


def sample(h, w, boxes=((1.0, 2.0, 3.0, 4.0),)):
    result = DetDataSample(metainfo=dict(img_shape=(h, w), scale_factor=(1.0, 2.0)))
    result.gt_instances = InstanceData(bboxes=torch.tensor(boxes))
    result.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return result


def test_values_by_hand():
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, 2, 3)
    part = DetDataPreprocessor(
        mean=[1, 2, 3], std=[1, 2, 4], bgr_to_rgb=True, pad_size_divisor=4, pad_value=-7
    )
    out = part(dict(inputs=[image], data_samples=[sample(2, 3)]))
    assert out['inputs'].shape == (1, 3, 4, 4) and out['inputs'].dtype == torch.float32
    # reversed to (30, 20, 10), then (30 - 1) / 1, (20 - 2) / 2, (10 - 3) / 4
    assert out['inputs'][0, :, 0, 0].tolist() == [29, 9, 1.75]
    assert out['inputs'][0, :, 1, 2].tolist() == [29, 9, 1.75]
    assert (out['inputs'][0, :, 2:] == -7).all() and (out['inputs'][0, :, :, 3] == -7).all()
    meta = out['data_samples'][0].metainfo
    assert meta['batch_input_shape'] == meta['pad_shape'] == (4, 4) and meta['img_shape'] == (2, 3)


def test_mixed_sizes_equal_one_by_one():
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, h, w), dtype=torch.uint8) for h, w in ((5, 9), (8, 3))]
    part = DetDataPreprocessor(mean=[9.0], std=[3.0], pad_size_divisor=2, pad_value=1)
    out = part(dict(inputs=images, data_samples=[sample(5, 9), sample(8, 3)]))
    batch, samples = out['inputs'], out['data_samples']
    assert batch.shape == (2, 3, 8, 10)
    for row, image, one in zip(batch, images, samples):
        h, w = image.shape[1:]
        assert torch.equal(row[:, :h, :w], (image.float() - 9) / 3)
        expected = torch.ones(3, 8, 10)
        expected[:, :h, :w] = row[:, :h, :w]
        assert torch.equal(row, expected)
        assert one.metainfo['pad_shape'] == (h + h % 2, w + w % 2)
        assert one.metainfo['batch_input_shape'] == (8, 10)
    tensor = torch.stack([images[0], images[0]])
    assert torch.equal(
        part(dict(inputs=tensor))['inputs'][0], part(dict(inputs=[images[0]]))['inputs'][0]
    )


def test_inputs_stay_as_they_were_and_buffers_out_of_checkpoints():
    image = torch.arange(12, dtype=torch.float32).view(3, 2, 2)
    before = image.clone()
    part = MODELS.build(dict(type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3))
    out = part(dict(inputs=[image], data_samples=None))
    assert torch.equal(image, before) and out['data_samples'] is None
    assert part.state_dict() == {}
    assert torch.equal(DetDataPreprocessor()(dict(inputs=[image]))['inputs'][0], before)


@pytest.mark.parametrize(
    'options',
    [
        dict(bgr_to_rgb=True, rgb_to_bgr=True),
        dict(mean=[1.0]),
        dict(mean=[1.0], std=[0.0]),
        dict(pad_size_divisor=0),
    ],
)
def test_wrong_options(options):
    with pytest.raises(ConfigError):
        DetDataPreprocessor(**options)


def test_wrong_channels():
    part = DetDataPreprocessor(mean=[1.0] * 3, std=[1.0] * 3)
    with pytest.raises(ShapeError, match=r'C = 3 as in mean, got \(1, 4, 4\)'):
        part(dict(inputs=[torch.zeros(1, 4, 4)]))


def test_batch_resize_follows_seed_and_step_alone():
    part = BatchRandomResize((64, 160), interval=10, size_divisor=32, seed=3)
    sizes = [part.size(step, 128, 64) for step in range(200)]
    assert sizes == [part.size(step, 128, 64) for step in range(200)]
    assert all(len(set(sizes[i : i + 10])) == 1 for i in range(0, 200, 10))
    assert {s[0] for s in sizes} == {64, 96, 128, 160}
    for h, w in sizes:
        assert w % 32 == 0 and abs(w - h / 2) <= 16
    other = BatchRandomResize((64, 160), seed=4)
    assert sizes != [other.size(step, 128, 64) for step in range(200)]
    with pytest.raises(ConfigError, match='random_size_range'):
        BatchRandomResize((160, 64))


def test_batch_resize_moves_boxes_with_the_pixels():
    part = DetDataPreprocessor(
        batch_augments=[dict(type='BatchRandomResize', seed=0, random_size_range=(64, 64))]
    )
    image = torch.zeros(3, 32, 32)
    image[:, 8:16, 4:20] = 100
    out = part(
        dict(inputs=[image], data_samples=[sample(32, 32, [(4.0, 8.0, 20.0, 16.0)])]),
        training=True,
    )
    batch, one = out['inputs'][0, 0], out['data_samples'][0]
    assert batch.shape == (64, 64)
    ys, xs = np.nonzero(batch.numpy() > 50)
    box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert one.gt_instances.bboxes.tolist() == [box] == [[8, 16, 40, 32]]
    assert one.img_shape == one.batch_input_shape == (64, 64)
    assert one.scale_factor == (2.0, 4.0)
    plain = part(dict(inputs=[image], data_samples=[sample(32, 32)]), training=False)
    assert plain['inputs'].shape[-1] == 32


def test_batch_resize_reads_the_step_of_the_run():
    hub = MessageHub.get_instance('test_batch_resize')
    hub.update_info('seed', 11)
    part = BatchRandomResize((32, 320), interval=1)
    assert part.seed is None
    expected = BatchRandomResize((32, 320), interval=1, seed=11)
    for step in (0, 5):
        hub.update_info('iter', step)
        batch, _ = part(torch.zeros(1, 3, 64, 64), [sample(64, 64)])
        assert tuple(batch.shape[-2:]) == expected.size(step, 64, 64)
