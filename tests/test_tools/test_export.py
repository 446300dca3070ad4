"""``tools/export.py``: every single-stage head gives the same boxes in onnxruntime."""

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from registry_losses.commands.detector import Detector
from registry_losses.commands.export import check_images, export_main
from registry_losses.deploy import compare_outputs, export_onnx, require_exportable
from registry_losses.engine import build_model
from registry_losses.errors import ConfigError, MissingDependencyError
from registry_losses.heads import DenseHead, RPNHead
from registry_losses.registry import MODELS
from registry_losses.testing import fill_from_names
from registry_losses.testing.pairings.detectors import GRID_HEADS, SIZE, build, head_config

onnx = pytest.importorskip('onnx', reason='pip install onnx onnxruntime')
onnxruntime = pytest.importorskip('onnxruntime', reason='pip install onnxruntime')

HEADS = [
    name
    for name, row in GRID_HEADS.items()
    if row.losses == 'bbox_head' and row.settings == 'train_cfg'
]
# A head of each way to rank and lay out, tried without NMS as well.
EVERY_PRIOR = ('retinanet', 'fcos', 'yolox', 'centernet', 'yolov1')
ROOT = Path(__file__).resolve().parents[2]
CONFIG = f"""
_base_ = ['{ROOT}/configs/retinanet/retinanet_tiny_digits.py']
model = dict(test_cfg=dict(score_thr=0.0, nms_pre=50, max_per_img=12))
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(128, 60), keep_ratio=True),
            dict(type='PackDetInputs'),
        ]
    )
)
"""
# Random weights are sure of nothing: everything may be a detection, of few candidates.
CFG = dict(score_thr=0.0, nms_pre=60, max_per_img=20)


def small(name):
    """A detector of random weights that differ from place to place."""
    config = head_config(name)
    cfg = dict(config.get('test_cfg') or {}, **CFG)
    if name == 'centernet':
        cfg.pop('nms_pre')
    config['test_cfg'] = cfg
    config['data_preprocessor'] = dict(
        type='DetDataPreprocessor', mean=[120.0, 110, 100], std=[60.0, 70, 80], bgr_to_rgb=True
    )
    model = build(config).eval()
    fill_from_names(model)
    return model


@pytest.mark.parametrize('name', HEADS)
def test_boxes_are_those_of_pytorch(name, tmp_path):
    model = small(name)
    images = check_images(None, (SIZE, SIZE), (0, 0, 0))
    if name == 'paa':
        with pytest.raises(ConfigError, match='score_voting=False, or export without NMS'):
            export_onnx(model, tmp_path / 'm.onnx', image_size=(SIZE, SIZE))
        model.bbox_head.score_voting = False
    for nms in (True, False) if name in EVERY_PRIOR else (True,):
        path = export_onnx(model, tmp_path / 'm.onnx', image_size=(SIZE, SIZE), nms=nms)
        found = compare_outputs(model, path, images, nms=nms)
        assert found.agrees and found.matched == found.boxes and not found.extra, str(found)
        assert found.images == 3 and found.boxes > 20


def test_the_comparison_can_tell(tmp_path):
    model = small('fcos')
    images = check_images(None, (64, 64), (0, 0, 0))
    path = export_onnx(model, tmp_path / 'm.onnx', image_size=(64, 64))
    with torch.no_grad():
        for parameter in model.bbox_head.parameters():
            parameter.mul_(1.5)
    found = compare_outputs(model, path, images)
    assert not found.agrees and found.extra


def test_every_dense_head_is_tried():
    types = {MODELS.get(head_config(name)['bbox_head']['type']) for name in HEADS}
    registered = {
        kind
        for kind in MODELS.module_dict.values()
        if isinstance(kind, type) and issubclass(kind, DenseHead) and kind is not RPNHead
    }
    assert {k for k in registered if k.__module__.startswith('registry_losses.')} == types


def test_a_wide_image_without_nms_and_with_one_suppressed_over_all_classes(tmp_path):
    model = small('retinanet')
    images = check_images(None, (128, 64), (0, 0, 0))
    for nms in (None, dict(type='nms', iou_threshold=0.3, class_agnostic=True, max_num=7)):
        model.bbox_head.test_cfg.update(nms=nms, min_bbox_size=4)
        path = export_onnx(model, tmp_path / 'wide.onnx', image_size=(128, 64))
        session = onnxruntime.InferenceSession(str(path))
        boxes, scores, labels = session.run(None, {'images': images.numpy()})
        kept = 20 if nms is None else 7
        assert boxes.shape == (3, kept, 4) and scores.shape == labels.shape == (3, kept)
        assert (np.diff(scores, axis=1) <= 0).all()
        assert boxes[..., 2].max() <= 128 and boxes[..., 3].max() <= 64
        found = compare_outputs(model, path, images)
        assert found.agrees and found.boxes, str(found)


def test_what_cannot_be_exported(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match='BottomupPoseEstimator: only single-stage'):
        require_exportable(build(head_config('ae')))
    with pytest.raises(ConfigError, match='TwoStageDetector: only single-stage'):
        require_exportable(build(head_config('roi')))
    model = small('fcos')
    model.bbox_head.test_cfg['nms'] = dict(type='soft_nms')
    with pytest.raises(ConfigError, match=r'no Soft-NMS\. Export with --no-nms'):
        export_onnx(model, tmp_path / 'm.onnx', image_size=(64, 64))
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'registry_losses\[export\]'"):
        export_onnx(model, tmp_path / 'm.onnx', image_size=(64, 64), nms=False)


def test_the_tool_and_the_code_of_the_page(tmp_path, monkeypatch, capsys):
    """From a checkpoint to the boxes that docs/export.md's code prints: the detector's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c.py').write_text(CONFIG)
    model = build_model('c.py')
    fill_from_names(model)
    meta = dict(dataset_meta=dict(classes=tuple('abcdefghij')))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), 'm.pth')
    image = np.random.default_rng(0).integers(0, 256, (60, 128, 3), dtype=np.uint8)
    cv2.imwrite('photo.jpg', cv2.GaussianBlur(image, (0, 0), 3))
    export_main(['c.py', 'm.pth', '--out', 'new/cells.onnx', '--images', 'photo.jpg'])
    out = capsys.readouterr().out
    assert 'images (batch, 3, 64, 128) to boxes, scores, labels' in out
    assert '12 of 12 boxes of 1 images are the same in onnxruntime' in out
    page = (ROOT / 'docs' / 'export.md').read_text(encoding='utf-8')
    code = re.search(r'```python\n(.*?)```', page, re.S).group(1)
    names: dict = {}
    exec(code.replace('cells.onnx', 'new/cells.onnx'), names)
    found = Detector('c.py', 'm.pth', device='cpu')('photo.jpg').pred_instances
    # Of the boxes that lie within the image; beyond it the two clip differently.
    boxes = names['boxes'][0] / names['factor']
    inside = found.bboxes.numpy()[:, 3] < 59
    near = np.abs(boxes[None] - found.bboxes.numpy()[:, None]).max(-1).min(1)
    assert inside.any() and near[inside].max() < 0.05
    assert names['classes'][0] == 'a' and 'a' <= capsys.readouterr().out[0] <= 'j'
    for words, message in (
        (['--out', 'm.pt'], 'a name that ends in .onnx'),
        (['--image-size', '100', '64'], 'multiples of 16'),
        (['--no-nms', '--opset', '3'], 'ExportError: RetinaHead at (128, 64)'),
    ):
        with pytest.raises(SystemExit):
            export_main(['c.py', 'm.pth', *words])
        assert message in capsys.readouterr().err
