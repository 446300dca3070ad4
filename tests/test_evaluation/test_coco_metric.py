"""COCO AP: by hand, against both libraries, and with nothing to evaluate."""

import json
import math
import multiprocessing as mp
import os
import sys

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.errors import ConfigError, DataError, MissingDependencyError
from registry_losses.evaluation import CocoMetric, evaluate_boxes, load_backend
from registry_losses.structures import DetDataSample

META = dict(classes=('cat', 'dog'))


def sample(img_id, gts=(), preds=(), ignored=(), **meta):
    """gts: (box, label); preds: (box, label, score); ignored: (box, label)."""

    def boxes(items):
        return torch.tensor([i[0] for i in items], dtype=torch.float32).reshape(-1, 4)

    def column(items, k, dtype):
        return torch.tensor([i[k] for i in items], dtype=dtype)

    result = DetDataSample(metainfo=dict(img_id=img_id, **meta))
    result.gt_instances = InstanceData(bboxes=boxes(gts), labels=column(gts, 1, torch.int64))
    result.ignored_instances = InstanceData(
        bboxes=boxes(ignored), labels=column(ignored, 1, torch.int64)
    )
    result.pred_instances = InstanceData(
        bboxes=boxes(preds),
        labels=column(preds, 1, torch.int64),
        scores=column(preds, 2, torch.float32),
    )
    return result


def evaluate(samples, **options):
    metric = CocoMetric(**options)
    metric.dataset_meta = META
    metric.process({}, [s.to_dict() for s in samples])
    return metric.evaluate(len(samples))


def test_perfect_and_undefined():
    found = evaluate([sample(1, [([0, 0, 10, 10], 0)], [([0, 0, 10, 10], 0, 0.9)])])
    assert found['coco/bbox_mAP'] == found['coco/bbox_mAP_50'] == found['coco/bbox_mAP_s'] == 1
    assert math.isnan(found['coco/bbox_mAP_m']) and math.isnan(found['coco/bbox_mAP_l'])
    assert found['coco/bbox_AR@1'] == 1


def test_ap_by_hand():
    """One class, two objects; by score: a hit, a false alarm, a hit.

    Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1. At the 101 recall steps the envelope is
    1 up to 0.5 (51 steps) and 2/3 after (50 steps).
    """
    preds = [([0, 0, 10, 10], 0, 0.9), ([50, 50, 60, 60], 0, 0.8), ([20, 0, 30, 10], 0, 0.7)]
    found = evaluate([sample(1, [([0, 0, 10, 10], 0), ([20, 0, 30, 10], 0)], preds)])
    assert found['coco/bbox_mAP_50'] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert found['coco/bbox_mAP'] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert found['coco/bbox_AR@1'] == pytest.approx(0.5)


def test_thresholds_by_hand():
    """IoU 0.8 exactly (8 of 10 columns): a hit at 0.5 to 0.8, seven of ten thresholds."""
    found = evaluate([sample(1, [([0, 0, 10, 10], 1)], [([0, 0, 8, 10], 1, 0.5)])])
    assert found['coco/bbox_mAP'] == pytest.approx(0.7)
    assert found['coco/bbox_mAP_75'] == 1
    only = evaluate(
        [sample(1, [([0, 0, 10, 10], 1)], [([0, 0, 8, 10], 1, 0.5)])], iou_thrs=[0.5, 0.9]
    )
    assert only['coco/bbox_mAP'] == pytest.approx(0.5)
    assert math.isnan(only['coco/bbox_mAP_75'])


def test_gt_of_samples_is_brought_back_to_the_original_image():
    meta = dict(scale_factor=(2.0, 0.5), pad_param=(3, 0, 4, 0), img_shape=(60, 60))
    gt = [([10 * 2 + 4, 20 * 0.5 + 3, 30 * 2 + 4, 40 * 0.5 + 3], 0)]
    pred = [([10, 20, 30, 40], 0, 0.9)]
    assert evaluate([sample(1, gt, pred, **meta)])['coco/bbox_mAP'] == 1


def test_crowds_swallow_false_alarms():
    preds = [([0, 0, 10, 10], 0, 0.5), ([40, 40, 50, 50], 0, 0.9), ([45, 45, 55, 55], 0, 0.8)]
    gts = [([0, 0, 10, 10], 0)]
    assert evaluate([sample(1, gts, preds)])['coco/bbox_mAP'] == pytest.approx(1 / 3)
    crowd = [([30, 30, 80, 80], 0)]
    assert evaluate([sample(1, gts, preds, crowd)])['coco/bbox_mAP'] == 1
    other = [([30, 30, 80, 80], 1)]
    assert evaluate([sample(1, gts, preds, other)])['coco/bbox_mAP'] == pytest.approx(1 / 3)
    anything = [([30, 30, 80, 80], -1)]
    assert evaluate([sample(1, gts, preds, anything)])['coco/bbox_mAP'] == 1


def random_samples(seed=0, images=12):
    rng = np.random.default_rng(seed)
    samples = []
    for img_id in range(images):
        gts, preds = [], []
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 150, 2)
            w, h = np.exp(rng.uniform(1.5, 5, 2))
            label = int(rng.integers(2))
            gts.append(([x, y, x + w, y + h], label))
            for _ in range(rng.integers(0, 3)):
                box = np.array([x, y, x + w, y + h]) + rng.normal(0, 2, 4)
                preds.append((box.tolist(), label if rng.random() < 0.8 else 0, rng.random()))
        samples.append(sample(img_id, gts, preds))
    return samples


def write_ann_file(path, samples, categories=((1, 'cat'), (9, 'dog'))):
    content = dict(
        images=[dict(id=s.img_id, file_name='x', width=400, height=400) for s in samples],
        annotations=[],
        categories=[dict(id=i, name=n) for i, n in categories],
    )
    cat = {n: i for i, n in categories}
    for s in samples:
        for box, label in zip(s.gt_instances.bboxes.tolist(), s.gt_instances.labels.tolist()):
            x1, y1, x2, y2 = box
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=s.img_id,
                    category_id=cat[META['classes'][label]],
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=0,
                )
            )
    path.write_text(json.dumps(content))
    return str(path)


def test_file_samples_and_both_libraries_agree(tmp_path):
    samples = random_samples()
    # Categories in another order than the classes.
    ann_file = write_ann_file(tmp_path / 'a.json', samples, ((7, 'dog'), (3, 'cat')))
    results = [
        evaluate(samples, **options)
        for options in (
            dict(ann_file=ann_file, classwise=True, backend='faster-coco-eval'),
            dict(ann_file=ann_file, classwise=True, backend='pycocotools'),
            dict(classwise=True),
        )
    ]
    assert 0.1 < results[0]['coco/bbox_mAP'] < 0.9
    assert not math.isnan(results[0]['coco/bbox_mAP_l'])
    for other in results[1:]:
        assert other.keys() == results[0].keys()
        for key, value in other.items():
            assert value == pytest.approx(results[0][key], abs=1e-6), key
    mean = (results[0]['coco/cat_precision'] + results[0]['coco/dog_precision']) / 2
    assert mean == pytest.approx(results[0]['coco/bbox_mAP'])
    assert results[0]['coco/cat_precision'] != pytest.approx(results[0]['coco/dog_precision'])


def test_matches_the_summary_of_pycocotools(tmp_path, capsys):
    """The twelve figures of the original program on the same files."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    samples = random_samples(3)
    ann_file = write_ann_file(tmp_path / 'a.json', samples)
    prefix = str(tmp_path / 'out')
    ours = evaluate(samples, ann_file=ann_file, outfile_prefix=prefix)
    gt = COCO(ann_file)
    run = COCOeval(gt, gt.loadRes(f'{prefix}.bbox.json'), 'bbox')
    run.evaluate()
    run.accumulate()
    run.summarize()
    names = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@1', 'AR@10', 'AR@100']
    for name, value in zip(names, run.stats):
        assert ours[f'coco/bbox_{name}'] == pytest.approx(value, abs=1e-6), name


def test_results_file(tmp_path):
    samples = [sample(5, [], [([1, 2, 4, 6], 1, 0.5)]), sample(6)]
    ann_file = write_ann_file(tmp_path / 'a.json', samples)
    found = evaluate(
        samples, ann_file=ann_file, outfile_prefix=str(tmp_path / 'r'), format_only=True
    )
    assert found == {}
    assert json.loads((tmp_path / 'r.bbox.json').read_text()) == [
        dict(image_id=5, category_id=9, bbox=[1, 2, 3, 4], score=0.5)
    ]
    with pytest.raises(ConfigError, match='outfile_prefix'):
        CocoMetric(format_only=True)


def test_empty_predictions_and_empty_gt():
    nothing = evaluate([sample(1, [([0, 0, 9, 9], 0)]), sample(2)])
    assert nothing['coco/bbox_mAP'] == 0 and nothing['coco/bbox_AR@100'] == 0
    no_gt = evaluate([sample(1, [], [([0, 0, 9, 9], 0, 0.5)])])
    assert math.isnan(no_gt['coco/bbox_mAP']) and math.isnan(no_gt['coco/bbox_AR@100'])


def test_predictions_that_are_not_finite_are_left_out():
    preds = [
        ([0, 0, 10, 10], 0, 0.5),
        ([float('nan'), 0, 10, 10], 0, 0.9),
        ([0, 0, 10, 10], 0, float('nan')),
    ]
    assert evaluate([sample(1, [([0, 0, 10, 10], 0)], preds)])['coco/bbox_mAP'] == 1


def test_a_repeated_image_counts_once():
    one = sample(1, [([0, 0, 10, 10], 0)], [([0, 0, 10, 10], 0, 0.5)])
    two = sample(2, [([0, 0, 10, 10], 0)])
    assert evaluate([one, two, one])['coco/bbox_mAP'] == evaluate([one, two])['coco/bbox_mAP']


def test_files_that_do_not_fit(tmp_path):
    samples = [sample(1, [([0, 0, 10, 10], 0)])]
    ann_file = write_ann_file(tmp_path / 'a.json', samples)
    with pytest.raises(DataError, match=r'predictions for 1 images .*e.g. \[77\]'):
        evaluate([sample(77)], ann_file=ann_file)
    write_ann_file(tmp_path / 'b.json', samples, ((1, 'cat'), (9, 'cow')))
    metric = CocoMetric(ann_file=str(tmp_path / 'b.json'))
    metric.dataset_meta = dict(classes=('x', 'y'))
    metric.process({}, [samples[0].to_dict()])
    with pytest.raises(DataError, match=r"none of the classes \['x', 'y'\]"):
        metric.evaluate(1)
    with pytest.raises(DataError, match='annotation file not found'):
        evaluate(samples, ann_file=str(tmp_path / 'none.json'))
    broken = DetDataSample(metainfo=dict(img_id=1))
    with pytest.raises(DataError, match='pred_instances'):
        CocoMetric().process({}, [broken.to_dict()])
    with pytest.raises(DataError, match="no 'img_id'"):
        CocoMetric().process({}, [sample(None).to_dict()])


def test_a_class_the_file_lacks_is_left_out(tmp_path):
    samples = [sample(1, [([0, 0, 9, 9], 0)], [([0, 0, 9, 9], 0, 0.9), ([0, 0, 9, 9], 1, 0.9)])]
    ann_file = write_ann_file(tmp_path / 'a.json', samples, ((4, 'cat'),))
    assert evaluate(samples, ann_file=ann_file)['coco/bbox_mAP'] == 1


def test_missing_libraries(monkeypatch):
    assert load_backend()[2] == 'faster-coco-eval'
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    assert load_backend()[2] == 'pycocotools'
    with pytest.raises(MissingDependencyError, match='pip install faster-coco-eval'):
        load_backend('faster-coco-eval')
    monkeypatch.setitem(sys.modules, 'pycocotools.coco', None)
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    with pytest.raises(MissingDependencyError, match=r'faster-coco-eval .or pycocotools.'):
        CocoMetric()
    with pytest.raises(ConfigError, match='backend'):
        load_backend('mine')


def test_category_order_of_the_result_is_the_asked_one():
    gt = dict(
        images=[dict(id=1)],
        annotations=[
            dict(id=1, image_id=1, category_id=5, bbox=[0, 0, 9, 9], area=81, iscrowd=0),
            dict(id=2, image_id=1, category_id=2, bbox=[50, 0, 9, 9], area=81, iscrowd=0),
        ],
        categories=[dict(id=5, name='a'), dict(id=2, name='b')],
    )
    detections = [dict(image_id=1, category_id=5, bbox=[0, 0, 9, 9], score=0.5)]
    for order, best in (([5, 2], 0), ([2, 5], 1)):
        precision, recall = evaluate_boxes(
            gt, [dict(d) for d in detections], image_ids=[1], category_ids=order
        )
        assert precision.shape == (10, 101, 2, 4, 3) and recall.shape == (10, 2, 4, 3)
        assert recall[0, best, 0, 2] == 1 and recall[0, 1 - best, 0, 2] == 0


def _rank(rank, port, folder, ann_file, results):
    os.environ.update(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        RANK=str(rank),
        WORLD_SIZE='2',
        GLOO_SOCKET_IFNAME='lo',
    )
    torch.distributed.init_process_group('gloo')
    samples = random_samples(4, images=7)
    mine = (samples + samples[:1])[rank::2]  # as a sampler that fills up hands them out
    metric = CocoMetric(ann_file=ann_file, collect_dir=folder)
    metric.dataset_meta = META
    for one in mine:
        metric.process({}, [one.to_dict()])
    results.put((rank, metric.evaluate(7)))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_give_the_figures_of_one(tmp_path):
    import socket

    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    samples = random_samples(4, images=7)
    ann_file = write_ann_file(tmp_path / 'a.json', samples)
    alone = evaluate(samples, ann_file=ann_file)
    context = mp.get_context('fork')  # what takes seconds to import is imported once
    results = context.SimpleQueue()
    args = (port, str(tmp_path / 'collect'), ann_file, results)
    ranks = [context.Process(target=_rank, args=(r, *args)) for r in range(2)]
    for process in ranks:
        process.start()
    found = dict(results.get() for _ in ranks)
    for process in ranks:
        process.join(30)
        assert process.exitcode == 0
    for rank in range(2):
        assert found[rank].keys() == alone.keys()
        for key, value in alone.items():
            assert found[rank][key] == pytest.approx(value, nan_ok=True)
