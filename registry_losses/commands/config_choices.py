"""What a config for a user's data says, chosen by looking at the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..priors.fitting import fit_anchors, fit_grid_anchors, fit_regress_ranges, shape_iou
from .box_sizes import box_sizes, fit_factor

STRIDES = (4, 8, 16)
# The shorter side, in pixels, that the tiny networks find well, and the sizes they are made for.
_FINDABLE = 19
_LEAST_SIDE, _MOST_SIDE = 192, 416
# Of the training images. With more of them, AP at low overlaps falls again on noisy annotations.
_PASSES = 40


@dataclass(frozen=True)
class Choices:
    """The numbers of a config, and why.

    Args:
        image_size: (width, height).
        max_iters: Steps.
        val_interval: Steps between validations.
        batch_size: Images a step.
        cached: Keep decoded images in memory.
        max_per_img: Detections an image.
        reasons: A line for each choice.
    """

    image_size: tuple[int, int]
    max_iters: int
    val_interval: int
    batch_size: int
    cached: bool
    max_per_img: int
    reasons: tuple[str, ...]


def choose(
    images: Sequence[dict],
    *,
    image_size: Sequence[int] | None = None,
    max_iters: int | None = None,
    batch_size: int = 8,
) -> Choices:
    """Choose by the training images.

    Args:
        images: As a data set has them.
        image_size: (width, height) that the user wants.
        max_iters: Steps that the user wants.
        batch_size: Images a step.
    """
    reasons = []
    if image_size is None:
        image_size, why = _image_size(images)
        reasons.append(why)
    width, height = image_size
    steps = max_iters
    if steps is None:
        steps = int(min(max(_PASSES * len(images) / batch_size, 1000), 8000) // 100 * 100)
        passes = steps * batch_size / len(images)
        reasons.append(
            f'{steps} steps of {batch_size}: {passes:.0f} passes over {len(images)} images '
            f'({_PASSES}, but at least 1000 and at most 8000 steps)'
        )
    megabytes = sum(i['width'] * i['height'] * 3 for i in images) / 2**20
    cached = megabytes <= 1500
    reasons.append(
        f'decoded images take {megabytes:.0f} MB: '
        + ('kept in memory' if cached else 'read from the files each time')
    )
    crowd = max(len(i['instances']) for i in images)
    most = 100 if crowd <= 60 else 300
    reasons.append(f'at most {most} detections an image: the fullest has {crowd} objects')
    return Choices(
        (int(width), int(height)),
        steps,
        max(steps // 5, 1),
        batch_size,
        cached,
        most,
        tuple(reasons),
    )


def _image_size(images: Sequence[dict]) -> tuple[tuple[int, int], str]:
    """The smallest size at which half the objects of every class can be found, by steps of 32."""
    width = float(np.median([i['width'] for i in images]))
    height = float(np.median([i['height'] for i in images]))
    by_class: dict[int, list[float]] = {}
    for image in images:
        for instance in image['instances']:
            if not instance['ignore_flag']:
                x1, y1, x2, y2 = instance['bbox']
                by_class.setdefault(instance['bbox_label'], []).append(min(x2 - x1, y2 - y1))
    small = min((float(np.median(sides)) for sides in by_class.values()), default=_FINDABLE)
    longest = max(width, height)
    wanted = longest * _FINDABLE / max(small, 1e-6)
    side = min(max(wanted, _LEAST_SIDE), _MOST_SIDE, max(longest, 64))
    side = max(64, round(side / 32) * 32)
    factor = side / longest
    # The networks' coarsest map has a cell every 16 pixels.
    sides = [max(32, math.ceil(s * factor / 16 - 0.01) * 16) for s in (width, height)]
    why = (
        f'images of {width:.0f} x {height:.0f} (median) are fitted into {sides[0]} x {sides[1]}: '
        f'the shorter side of half the objects, of the smallest class too, is at least '
        f'{small * factor:.0f} pixels then'
    )
    if small * factor < _FINDABLE * 0.75:
        why += '. SMALL OBJECTS: a larger --image-size finds more and takes longer'
    return (sides[0], sides[1]), why


def head_settings(
    system: str, images: Sequence[dict], choices: Choices, num_classes: int
) -> tuple[dict, list[str]]:
    """What a system's model is told about the data, and why.

    Returns:
        A dict to merge into ``model``, and a line for each choice.
    """
    sizes = box_sizes(images, choices.image_size)
    head: dict = dict(num_classes=num_classes)
    model: dict = dict(bbox_head=head)
    if system in ('yolov3', 'yolov4', 'yolov5'):
        anchors = fit_anchors(sizes, 9).round().astype(int)
        rows = [[(int(w), int(h)) for w, h in anchors[i : i + 3]] for i in (0, 3, 6)]
        fit = shape_iou(sizes, anchors).max(1)
        # YOLOv3's neck hands out the coarsest map first.
        head['prior_generator'] = dict(base_sizes=rows[::-1] if system == 'yolov3' else rows)
        text = f'nine anchors by k-means: best possible recall {(fit >= 0.5).mean():.3f}'
        return _limited(model, choices), [f'{text}, mean IoU {fit.mean():.3f}']
    if system == 'fcos':
        ranges = fit_regress_ranges(sizes, STRIDES)
        model['train_cfg'] = dict(assigner=dict(regress_ranges=ranges))
        shown = ', '.join(f'{high:g}' for _, high in ranges[:-1])
        return _limited(model, choices), [f'FCOS: levels part at distances of {shown} pixels']
    if system == 'centernet':
        return _limited(model, choices), ['CenterNet: one map at stride 4, no anchors']
    why = []
    if system in ('gfl', 'ppyoloe'):
        head['reg_max'], line = _bins(sizes)
        why.append(line)
    if system in ('yolox', 'rtmdet', 'ppyoloe'):
        sides = np.sqrt(sizes.prod(1, keepdims=True)).repeat(2, 1)
        scale = fit_grid_anchors(sides, STRIDES, scales_per_octave=1).octave_base_scale
        head['prior_generator'] = dict(box_scale=scale)
        why.append(f'points that stand for squares of {scale:g} strides, no anchors')
        return _limited(model, choices), why
    one_anchor = system in ('atss', 'gfl', 'paa', 'tood')
    scales = 1 if one_anchor else dict(faster_rcnn=2).get(system, 3)
    ratios = 1 if one_anchor else 3
    grid = fit_grid_anchors(sizes, STRIDES, scales_per_octave=scales, max_ratios=ratios)
    generator = dict(octave_base_scale=grid.octave_base_scale, ratios=list(grid.ratios))
    why.append(
        f'anchors of {grid.octave_base_scale:g} strides, heights over widths '
        f'{list(grid.ratios)}: best possible recall {grid.recall:.3f}, mean IoU {grid.mean_iou:.3f}'
    )
    if system == 'faster_rcnn':
        middle = float(np.median(sizes.prod(1) ** 0.5))
        finest = max(16, round(middle))
        roi = dict(
            bbox_roi_extractor=dict(finest_scale=finest),
            bbox_head=dict(num_classes=num_classes),
        )
        model = dict(rpn_head=dict(prior_generator=generator), roi_head=roi)
        why.append(f'objects of up to {2 * finest} pixels are read from the finest map')
        return model, why
    head['prior_generator'] = generator
    return _limited(model, choices), why


def _bins(sizes: np.ndarray) -> tuple[int, str]:
    """The largest distance, in strides of the coarsest map, that bins have to reach."""
    # From a positive to the farther side: three quarters of the box's longer side.
    farthest = 0.75 * float(np.quantile(sizes.max(1), 0.95))
    bins = max(8, math.ceil(farthest / STRIDES[-1]))
    return bins, f'reg_max {bins}: sides up to {bins * STRIDES[-1]} pixels from a positive'


def _limited(model: dict, choices: Choices) -> dict:
    if choices.max_per_img != 100:
        model['test_cfg'] = dict(max_per_img=choices.max_per_img)
    return model


def describe_sizes(images: Sequence[dict], choices: Choices) -> str:
    """One line on how large objects are in the files and in the network."""
    own = np.sqrt(box_sizes(images).prod(1))
    seen = np.sqrt(box_sizes(images, choices.image_size).prod(1))
    low, high = np.quantile(own, [0.05, 0.95])
    low_seen, high_seen = np.quantile(seen, [0.05, 0.95])
    factors = [fit_factor(i['width'], i['height'], choices.image_size) for i in images]
    return (
        f'objects of {low:.0f} to {high:.0f} pixels (root of the area, 90 % of them), '
        f'{low_seen:.0f} to {high_seen:.0f} after resizing by {np.median(factors):.2f}'
    )
