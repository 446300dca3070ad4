"""Every single-stage head with its own assigner and losses: gradients, odd batches, meaning."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from registry_losses.registry import MODELS
from registry_losses.structures import DetDataSample

ROOT = Path(__file__).parents[2]
CONFIGS = (
    'retinanet/retinanet',
    'fcos/fcos',
    'atss/atss',
    'gfl/gfl',
    'yolox/yolox',
    'rtmdet/rtmdet',
    'ssd/ssd',
    'centernet/centernet',
    'yolo/yolov1',
    'yolo/yolov3',
    'yolo/yolov4',
    'yolo/yolov5',
)


@pytest.fixture(scope='module', params=CONFIGS, ids=lambda name: name.rpartition('/')[2])
def model(request):
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / f'configs/{request.param}_tiny_digits.py')
    built = MODELS.build(dict(cfg.model, data_preprocessor=None))
    built.init_weights()
    return built.train()


def sample(count: int, size: int = 128, **meta) -> DetDataSample:
    shape = (size, size)
    out = DetDataSample(
        metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, **meta)
    )
    generator = torch.Generator().manual_seed(count)
    height = torch.rand(count, 1, generator=generator) * 40 + 16
    half = torch.cat((height / 1.6, height), dim=1) / 2
    center = torch.rand(count, 2, generator=generator) * (size - 60) + 30
    out.gt_instances = InstanceData(
        bboxes=torch.cat((center - half, center + half), dim=1),
        labels=torch.randint(10, (count,), generator=generator),
    )
    return out


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 128, 128, generator=torch.Generator().manual_seed(1))


def test_every_term_has_a_gradient_of_its_own(model):
    # Terms share what is worked out once; none may take it without its graph.
    head, samples = model.bbox_head, [sample(4), sample(2)]
    with torch.no_grad():
        feats = model.extract_feat(images(2))
    maps = head.raw_maps(feats)
    leaves = [m for level_maps in maps for m in level_maps]
    losses = head.loss_by_feat(*maps, batch_data_samples=samples)
    assert list(losses) == [term.name for term in head.loss_terms]
    for name, loss in losses.items():
        grads = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        assert sum(float(g.abs().sum()) for g in grads if g is not None) > 0, name


@pytest.mark.parametrize('counts', [(3, 0), (0, 0), (200, 1)])
def test_any_number_of_gts_trains(model, counts):
    model.zero_grad()
    losses = model(images(2), [sample(n, img_id=i) for i, n in enumerate(counts)], mode='loss')
    assert list(losses) == [term.name for term in model.bbox_head.loss_terms]
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        # The graph reaches every parameter on every step, or ranks would wait for ever.
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_predictions_lie_in_the_original_image(model):
    model.eval()
    data = sample(0, scale_factor=(2.0, 2.0), ori_shape=(64, 64))
    with torch.no_grad():
        result = model(images(1), [data], mode='predict')[0].pred_instances
    model.train()
    assert result.bboxes.shape == (len(result.scores), 4)
    assert (result.bboxes >= 0).all() and (result.bboxes <= 64).all()
    assert (result.scores.diff() <= 0).all()
    assert ((result.labels >= 0) & (result.labels < 10)).all()
