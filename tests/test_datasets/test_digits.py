"""The digits: what is drawn, and that it is written whole or not at all."""

import json
import multiprocessing
import os
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_losses.datasets import DigitsDataset, DigitsSpec, prepare_digits
from registry_losses.datasets import digits_render as render
from registry_losses.datasets import digits_store as store
from registry_losses.errors import DataError

SMALL = DigitsSpec(num_train=6, num_val=3)


@pytest.fixture(scope='module')
def drawn():
    return [render.draw_image(DigitsSpec(), 'train', i) for i in range(60)]


def test_splits_are_disjoint_and_hold_every_digit():
    train, val = render.split_samples('train'), render.split_samples('val')
    assert not set(train) & set(val) and len(train) + len(val) == 1797
    labels = render.load_samples()[1]
    assert np.bincount(labels[val]).min() >= 30 and len(val) / 1797 == pytest.approx(0.2, abs=0.01)
    with pytest.raises(ValueError, match='split'):
        render.split_samples('test')


def test_drawn_samples_belong_to_the_split():
    for split in ('train', 'val'):
        pool = set(render.split_samples(split))
        images = [render.draw_image(DigitsSpec(), split, i) for i in range(10)]
        used = np.concatenate([d.samples for d in images])
        assert set(used) <= pool and len(used)
        labels = render.load_samples()[1]
        assert np.array_equal(np.concatenate([d.labels for d in images]), labels[used])


def test_numbers_sizes_and_visibility(drawn):
    counts = [len(d.labels) for d in drawn]
    assert min(counts) == 0 and max(counts) <= 10 and np.mean(counts) > 3.5
    boxes = np.concatenate([d.boxes for d in drawn])
    assert (boxes >= 0).all() and (boxes <= 128).all()
    longest = (boxes[:, 2:] - boxes[:, :2]).max(1)
    # The parts of up to a fifth that another digit covers shorten a few boxes.
    assert 12 < longest.min() < 20 and 48 < longest.max() < 58
    visible = np.concatenate([d.visible for d in drawn])
    assert (visible >= 0.8 - 1e-6).all() and (visible < 0.95).any(), 'overlaps should occur'


def test_boxes_are_tight_on_the_visible_ink(drawn):
    for image in drawn:
        for mask, box in zip(image.masks, image.boxes):
            ys, xs = np.nonzero(mask >= mask.max() / 2)
            naive = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert np.abs(box - naive).max() <= 1.0


def test_digits_stand_out_from_what_they_are_pasted_on(drawn):
    """Ink against the ring around it, in grey levels, after blur and noise."""
    contrasts = []
    for image in drawn:
        grey = image.image.mean(2)
        free = image.masks.max(0) < 0.05 if len(image.masks) else None
        for mask in image.masks:
            ring = cv2.dilate(mask, np.ones((9, 9))) - mask
            ink, around = mask > 0.85, (ring > 0.5) & free
            if ink.sum() > 15 and around.sum() > 15:
                contrasts.append(abs(grey[ink].mean() - grey[around].mean()))
    # The paste guarantees 50 against the mean below; clutter may spoil the ring a little.
    assert len(contrasts) > 100
    assert np.percentile(contrasts, 5) > 45 and np.median(contrasts) > 70


def test_both_polarities_and_no_trace_of_the_paste_window(drawn):
    signs = []
    for image in drawn:
        grey = image.image.mean(2)
        for mask in image.masks:
            ink = mask > 0.85
            if ink.any():
                signs.append(grey[ink].mean() > grey.mean())
    assert 0.25 < np.mean(signs) < 0.75
    # The coverage falls off softly and is nought at the border of its window.
    rng, samples = np.random.default_rng(0), render.load_samples()[0]
    for i in range(200):
        alpha = render.render_digit(rng, samples[i], rng.uniform(16, 56))
        assert max(alpha[[0, -1]].max(), alpha[:, [0, -1]].max()) < 0.01
        assert ((alpha > 0.2) & (alpha < 0.8)).sum() > alpha.shape[0]


def test_drawing_is_a_function_of_seed_split_and_index(drawn):
    again = render.draw_image(DigitsSpec(), 'train', 3)
    assert np.array_equal(again.image, drawn[3].image)
    assert np.array_equal(again.boxes, drawn[3].boxes)
    for spec, split, index in (
        (DigitsSpec(seed=1), 'train', 3),
        (DigitsSpec(), 'val', 3),
        (DigitsSpec(), 'train', 4),
    ):
        assert not np.array_equal(render.draw_image(spec, split, index).image, again.image)
    more = render.draw_image(DigitsSpec(num_train=5), 'train', 3)  # the number is no key
    assert np.array_equal(more.image, again.image)


@given(x=st.floats(3, 9), y=st.floats(3, 9), w=st.floats(2, 9), h=st.floats(2, 9))
def test_ink_box_finds_a_rectangle_to_a_fraction_of_a_pixel(x, y, w, h):
    def coverage(low, high):
        edges = np.arange(24)
        return np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, 1)

    mask = np.outer(coverage(y, y + h), coverage(x, x + w)).astype(np.float32)
    assert np.abs(np.array(render.ink_box(mask)) - [x, y, x + w, y + h]).max() < 0.26


def test_files_are_ordinary_coco_and_reproducible(tmp_path):
    assert prepare_digits(tmp_path / 'digits', SMALL, progress=False)
    assert not prepare_digits(tmp_path / 'digits', SMALL, progress=False)
    assert prepare_digits(tmp_path / 'again', SMALL, progress=False)
    names = sorted(p.relative_to(tmp_path / 'digits') for p in (tmp_path / 'digits').rglob('*.*'))
    assert len(names) == 6 + 3 + 2 + 1
    for name in names:
        assert (tmp_path / 'digits' / name).read_bytes() == (tmp_path / 'again' / name).read_bytes()
    content = json.loads((tmp_path / 'digits/annotations/train.json').read_text())
    assert [i['id'] for i in content['images']] == list(range(6))
    assert [c['name'] for c in content['categories']] == list('0123456789')
    first = render.draw_image(SMALL, 'train', 0)
    mine = [a for a in content['annotations'] if a['image_id'] == 0]
    assert [a['category_id'] - 1 for a in mine] == first.labels.tolist()
    for ann, box in zip(mine, first.boxes):
        x, y, w, h = ann['bbox']
        assert np.allclose([x, y, x + w, y + h], box, atol=0.011)
        assert ann['area'] == pytest.approx(w * h, abs=0.01)
    image = cv2.imread(str(tmp_path / 'digits/train/000000.png'))
    assert np.array_equal(image[..., ::-1], first.image)


def test_dataset_draws_once_and_reads_as_coco(tmp_path):
    root = str(tmp_path / 'd')
    options = dict(data_root=root, num_train=6, num_val=3, progress=False)
    train, val = DigitsDataset('train', **options), DigitsDataset('val', **options)
    assert (len(train), len(val)) == (6, 3)
    assert train.metainfo['classes'] == tuple('0123456789') and len(train.metainfo['palette']) == 10
    assert train.problems.summary(1) == '' == val.problems.summary(1)
    first = render.draw_image(SMALL, 'val', 0)
    instances = val.get_data_info(0)['instances']
    assert [i['bbox_label'] for i in instances] == first.labels.tolist()
    stamp = os.stat(tmp_path / 'd' / store.STAMP).st_mtime_ns
    DigitsDataset('val', **options)
    assert os.stat(tmp_path / 'd' / store.STAMP).st_mtime_ns == stamp
    with pytest.raises(ValueError, match='split'):
        DigitsDataset('test', **options)


def test_other_numbers_replace_the_data_and_foreign_files_stay(tmp_path):
    root = tmp_path / 'digits'
    prepare_digits(root, SMALL, progress=False)
    assert prepare_digits(root, DigitsSpec(num_train=2, num_val=1), progress=False)
    assert len(list((root / 'train').iterdir())) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ['.digits.lock', 'digits']
    foreign = tmp_path / 'photos'
    foreign.mkdir()
    (foreign / 'mine.jpg').write_bytes(b'1')
    with pytest.raises(DataError, match='photos: expected digits written by this package'):
        prepare_digits(foreign, SMALL, progress=False)
    assert (foreign / 'mine.jpg').exists()


def test_failure_while_drawing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr(store, 'draw_image', fail)
    with pytest.raises(OSError, match='disk full'):
        prepare_digits(tmp_path / 'digits', SMALL, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ['.digits.lock']


def test_killed_run_leaves_no_half_written_data(tmp_path):
    root = tmp_path / 'digits'
    many = (root, DigitsSpec(num_train=100000))
    process = multiprocessing.get_context('fork').Process(
        target=prepare_digits, args=many, kwargs=dict(progress=False)
    )
    process.start()
    try:
        deadline = time.time() + 60
        while not list(tmp_path.glob('.digits.tmp-*/train/000005.png')):
            assert process.is_alive() and time.time() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.join()
    assert not root.exists() and list(tmp_path.glob('.digits.tmp-*'))
    assert prepare_digits(root, SMALL, progress=False)  # the lock died with its holder
    assert sorted(p.name for p in tmp_path.iterdir()) == ['.digits.lock', 'digits']


def _start(root, results):
    results.put(prepare_digits(root, SMALL, progress=False))


def test_processes_that_start_together_draw_once(tmp_path):
    context = multiprocessing.get_context('fork')
    results = context.SimpleQueue()
    args = (tmp_path / 'digits', results)
    workers = [context.Process(target=_start, args=args) for _ in range(3)]
    for worker in workers:
        worker.start()
    drew = [results.get() for _ in workers]
    for worker in workers:
        worker.join(30)
    assert sorted(drew) == [False, False, True]
    assert store.is_current(tmp_path / 'digits', SMALL)


@pytest.mark.parametrize(
    ('split', 'index', 'samples', 'last_box', 'mean'),
    [
        ('train', 1, [837], [83.7, 83.0, 94.0, 101.9], 66.2),
        ('train', 3, [1655, 1323, 794, 1124, 934], [50.2, 4.7, 78.9, 42.8], 158.2),
        ('val', 1, [1382], [27.3, 90.3, 44.1, 120.7], 169.7),
    ],
)
def test_a_change_of_the_drawing_needs_a_new_version(split, index, samples, last_box, mean):
    """If this fails and the change is meant: raise VERSION and put the new figures here.

    Data drawn before would otherwise count as current.
    """
    assert render.VERSION == 2
    drawn = render.draw_image(DigitsSpec(), split, index)
    assert drawn.samples.tolist() == samples
    assert np.abs(drawn.boxes[-1] - last_box).max() < 0.3  # room for other OpenCV versions
    assert drawn.image.mean() == pytest.approx(mean, abs=0.5)
