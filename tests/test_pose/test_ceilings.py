"""With the maps that a perfect network would give, the puppets' persons are found."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from registry_losses.datasets import PuppetsDataset
from registry_losses.evaluation import CocoKeypointMetric
from registry_losses.registry import MODELS
from registry_losses.testing import without_pretrained

from .scenes import true_maps

CONFIGS = Path(__file__).parents[2] / 'configs'
FILES = {
    'openpose': ('openpose/openpose_tiny_puppets.py', 0.97),
    'ae': ('associative_embedding/ae_tiny_puppets.py', 0.99),
}
IMAGES = 40


@pytest.fixture(scope='module')
def puppets(tmp_path_factory):
    """The first validation images of the recipes: an image depends on its number alone."""
    init_default_scope('registry_losses')
    cfg = Config.fromfile(CONFIGS / FILES['ae'][0])
    node = cfg.val_dataloader.dataset
    return PuppetsDataset(
        'val',
        str(tmp_path_factory.mktemp('data') / 'puppets'),
        spec=dict(node.spec, num_train=1, num_val=IMAGES),
        pipeline=node.pipeline,
        test_mode=True,
        progress=False,
    )


@pytest.mark.parametrize('name', FILES)
def test_true_maps_reach_the_ceiling(puppets, name):
    file, least = FILES[name]
    cfg = Config.fromfile(CONFIGS / file)
    # The recipes' windows of five cells suit a network's maps; joints of true maps are nearer.
    cfg.model.test_cfg.update(threshold=0.1, kernel=3, min_joints=1)
    head = MODELS.build(dict(without_pretrained(cfg.model), data_preprocessor=None)).head
    metric = CocoKeypointMetric(f'{puppets.data_root}/annotations/val.json')
    metric.dataset_meta = puppets.metainfo
    samples = [puppets[i]['data_samples'] for i in range(IMAGES)]
    maps = true_maps(head, samples, (32, 32))
    found = head.predict_by_feat(*maps, batch_img_metas=[s.metainfo for s in samples])
    for sample, persons in zip(samples, found):
        metric.process(None, [dict(img_id=sample.img_id, pred_instances=persons)])
    assert metric.compute_metrics(metric.results)['keypoints_mAP'] >= least
