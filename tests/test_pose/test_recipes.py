"""Every pose config: it builds, a step reaches every parameter, and its pipelines run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from registry_losses.datasets import PuppetsSpec, prepare_puppets
from registry_losses.evaluation import CocoKeypointMetric
from registry_losses.registry import DATASETS, MODELS
from registry_losses.testing import without_pretrained

CONFIGS = Path(__file__).parents[2] / 'configs'
FILES = sorted(
    str(path.relative_to(CONFIGS))
    for folder in ('associative_embedding', 'openpose')
    for path in (CONFIGS / folder).glob('*.py')
)
SMALL = dict(num_train=3, num_val=3, image_size=64, crowd=0.5)


@pytest.fixture(scope='module')
def puppets(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'puppets'
    prepare_puppets(root, PuppetsSpec(**SMALL), progress=False)
    return root


def small(cfg, root, split):
    """The data set of a loader, on three small puppets images with the config's pipeline."""
    node = dict(cfg[f'{split}_dataloader'].dataset)
    common = dict(pipeline=node['pipeline'], test_mode=split == 'val')
    if node['type'] == 'PuppetsDataset':
        return dict(type='PuppetsDataset', split=split, data_root=str(root), spec=SMALL, **common)
    return dict(
        type=node['type'],
        ann_file=f'{root}/annotations/{split}.json',
        data_prefix=dict(img=f'{root}/{split}/'),
        filter_cfg=node.get('filter_cfg'),
        **common,
    )


@pytest.mark.parametrize('file', [
    pytest.param(f, marks=[] if f.endswith('tiny_puppets.py') else pytest.mark.slow) for f in FILES
])  # fmt: skip
def test_a_step_reaches_every_parameter(file, puppets):
    init_default_scope('registry_losses')
    cfg = Config.fromfile(CONFIGS / file)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(cfg.model))
    model.init_weights()
    data = DATASETS.build(small(cfg, puppets, 'train'))
    batch = pseudo_collate([data[i] for i in range(2)])
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled='tiny' in file):
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert not without
    # And the way of a validation, with persons in pixels of the original images.
    model.eval()
    with torch.no_grad():
        found = model.val_step(batch)
    for sample in found:
        persons = sample.pred_instances
        assert persons.keypoints.shape == (len(persons.scores), 17, 2)


@pytest.mark.parametrize('file', FILES)
def test_evaluation_of_a_config(file, puppets):
    """The whole way from images to figures, with the answers in the place of predictions."""
    init_default_scope('registry_losses')
    cfg = Config.fromfile(CONFIGS / file)
    data = DATASETS.build(small(cfg, puppets, 'val'))
    metric = CocoKeypointMetric(f'{puppets}/annotations/val.json')
    metric.dataset_meta = data.metainfo
    for i in range(len(data)):
        sample = data[i]['data_samples']
        gt = sample.gt_instances
        factor = torch.tensor(sample.scale_factor)
        seen = (gt.keypoints_visible > 0).float()
        answer = dict(
            keypoints=gt.keypoints / factor,
            keypoint_scores=seen,
            scores=torch.ones(len(gt.bboxes)),
        )
        metric.process(None, [dict(img_id=sample.img_id, pred_instances=answer)])
    result = metric.compute_metrics(metric.results)
    np.testing.assert_allclose(result['keypoints_mAP'], 1, atol=1e-6)


def test_openpose_on_coco_has_the_papers_channels():
    cfg = Config.fromfile(CONFIGS / 'openpose' / 'openpose_vgg19_coco.py')
    model = MODELS.build(dict(without_pretrained(cfg.model), data_preprocessor=None))
    convs = [m for m in model.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convs) == 10 and model.backbone.out_channels == (512,)
    maps = model.head([torch.zeros(1, 512, 6, 6)])
    assert maps[0][0].shape == (6, 1, 19, 6, 6) and maps[1][0].shape == (6, 1, 38, 6, 6)
    joints = model.head.skeleton.joints
    limbs = [{joints[a], joints[b]} for a, b in model.head.skeleton.limbs]
    assert {'right_shoulder', 'right_ear'} in limbs and {'neck', 'left_shoulder'} in limbs


def test_the_source_weighs_the_losses_0_999_and_0_001():
    cfg = Config.fromfile(CONFIGS / 'associative_embedding' / 'ae_tiny_puppets.py')
    head = MODELS.build(dict(without_pretrained(cfg.model), data_preprocessor=None)).head
    assert head.loss_heatmap.loss_weight == 0.999 and head.loss_tag.loss_weight == 0.001
