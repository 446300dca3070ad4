"""RetinaNet on odd batches: no gt, no gt anywhere, thousands of gts, ignore regions."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from registry_losses.registry import MODELS
from registry_losses.structures import DetDataSample

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / 'configs/retinanet/retinanet_tiny_digits.py')
    built = MODELS.build(dict(cfg.model, data_preprocessor=None))
    built.init_weights()
    return built.train()


def sample(boxes, labels, size=128, ignore=None):
    shape = (size, size)
    out = DetDataSample(metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape))
    out.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    if ignore is not None:
        out.ignored_instances = InstanceData(bboxes=ignore)
    return out


def objects(count, size=128):
    generator = torch.Generator().manual_seed(count)
    low = torch.rand(count, 2, generator=generator) * size * 0.8
    side = torch.rand(count, 2, generator=generator) * size * 0.3 + 1
    boxes = torch.cat((low, (low + side).clamp(max=size)), dim=1)
    return boxes, torch.randint(10, (count,), generator=generator)


@pytest.mark.parametrize('counts', [(3, 0), (0, 0), (3000, 1), (1, 1)])
def test_any_number_of_gts_trains(model, counts):
    model.zero_grad()
    torch.manual_seed(1)
    images = torch.randn(len(counts), 3, 128, 128)
    losses = model(images, [sample(*objects(n)) for n in counts], mode='loss')
    assert set(losses) == {'loss_cls', 'loss_bbox'}
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        # The graph reaches every parameter on every step, or ranks would wait for ever.
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    if not any(counts):
        assert losses['loss_bbox'] == 0
        assert losses['loss_cls'] > 0


def test_a_step_lowers_the_loss(model):
    torch.manual_seed(2)
    images = torch.randn(2, 3, 128, 128)
    samples = [sample(*objects(5)), sample(*objects(2))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    totals = []
    for _ in range(6):
        total = sum(model(images, samples, mode='loss').values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]


def test_ignore_regions_take_their_priors_out_of_the_loss(model):
    torch.manual_seed(3)
    images = torch.randn(1, 3, 128, 128)
    boxes, labels = torch.tensor([[10.0, 10, 30, 40]]), torch.tensor([1])
    everywhere = torch.tensor([[0.0, 0, 128, 128]])
    with torch.no_grad():
        free = model(images, [sample(boxes, labels)], mode='loss')
        covered = model(images, [sample(boxes, labels, ignore=everywhere)], mode='loss')
    assert covered['loss_cls'] < free['loss_cls']
    assert covered['loss_bbox'] == pytest.approx(free['loss_bbox'].item(), rel=1e-5)


def test_predictions_lie_in_the_original_image(model):
    model.eval()
    data = sample(*objects(0))
    data.set_metainfo(dict(scale_factor=(2.0, 2.0), ori_shape=(64, 64)))
    with torch.no_grad():
        result = model(torch.randn(1, 3, 128, 128), [data], mode='predict')[0].pred_instances
    model.train()
    assert result.bboxes.shape[1] == 4 and len(result.scores) == len(result.labels)
    assert (result.bboxes >= 0).all() and (result.bboxes <= 64).all()
    assert (result.scores.diff() <= 0).all()
