"""Draws images of puppets: people of 17 joints, several an image, in each other's way.

NumPy and OpenCV only. Every image is a function of (version, spec, split, index), so
images can be drawn in any order and on any number of threads.

Legend: S canvas side, n persons, 17 joints. Images are RGB uint8 ``(S, S, 3)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .puppets_body import JOINT, JOINTS_ON, Part, pose_body
from .puppets_scene import LIMBS, background, camera_noise, part_colours

VERSION = 1
"""Raise it when the same seed no longer draws the same images: old files are remade."""

CUES = ('coded', 'shaded')
_SPLITS = ('train', 'val')
_SCALE = 2
"""Bodies are painted at this many times the resolution and then averaged down."""
_PLACES = 10
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 12, endpoint=False)) for f in (np.cos, np.sin)], 1)


@dataclass(frozen=True)
class PuppetsSpec:
    """What the images are made from; stored beside them and compared on the next start.

    Args:
        seed: Any integer.
        num_train: Training images.
        num_val: Validation images.
        image_size: S.
        min_persons: Fewest persons of an image.
        max_persons: Most; their number is uniform between the two.
        min_height: Least height of a standing person, as a share of the image's.
        max_height: Largest; heights are log-uniform between the two.
        cue: What tells left from right. ``coded``: each limb has a hue of its own, of
            varied strength from person to person; ``shaded``: clothes of any colour,
            the left limbs at 0.55 of their brightness.
        crowd: Share of images with a huddle that is annotated as a crowd only.
    """

    seed: int = 0
    num_train: int = 5000
    num_val: int = 200
    image_size: int = 128
    min_persons: int = 1
    max_persons: int = 3
    min_height: float = 0.45
    max_height: float = 1.0
    cue: str = 'coded'
    crowd: float = 0.0

    def __post_init__(self) -> None:
        if self.cue not in CUES:
            raise ValueError(f'cue: expected one of {CUES}, got {self.cue!r}')
        if not 0 <= self.min_persons <= self.max_persons:
            raise ValueError(
                'expected 0 <= min_persons <= max_persons, got '
                f'{self.min_persons} and {self.max_persons}'
            )
        if not 0 < self.min_height <= self.max_height:
            raise ValueError(
                f'expected 0 < min_height <= max_height, got {self.min_height}, {self.max_height}'
            )


@dataclass
class PuppetsImage:
    """One drawn image and its annotations."""

    image: np.ndarray
    """``(S, S, 3)`` uint8, RGB."""
    keypoints: np.ndarray
    """``(n, 17, 3)`` float64: x, y, and v: 0 outside the image, 1 hidden, 2 seen."""
    boxes: np.ndarray
    """``(n, 4)`` float64 xyxy around the silhouette, as if nothing stood before it."""
    areas: np.ndarray
    """``(n,)`` pixels of that silhouette inside the image."""
    crowd: np.ndarray
    """``(n,)`` bool: a huddle, whose joints are not annotated."""


@dataclass
class _Person:
    joints: np.ndarray  # (17, 2) pixels
    parts: list[Part]  # centers in pixels, x, y, z; radii in pixels
    height: float
    colours: dict[str, np.ndarray]


def draw_image(spec: PuppetsSpec, split: str, index: int) -> PuppetsImage:
    """Draw image ``index`` of ``split``."""
    if split not in _SPLITS:
        raise ValueError(f'split: expected one of {_SPLITS}, got {split!r}')
    entropy = [VERSION, spec.seed % 2**32, _SPLITS.index(split), index, 2]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
    persons = _place_persons(rng, spec)
    huddle = rng.random() < spec.crowd
    canvas = background(rng, spec.image_size, _SCALE)
    crowd = _draw_huddle(rng, spec, canvas) if huddle else None
    # ids: 0 background, then 32 numbers a person, one a part.
    ids = np.zeros(canvas.shape[:2], np.int32)
    own, boxes = [], []
    for number, person in enumerate(persons):
        mask = _paint(canvas, ids, person, first_id=32 * (number + 1))
        own.append(mask)
        boxes.append(_extent(mask))
    image = cv2.resize(canvas, (spec.image_size,) * 2, interpolation=cv2.INTER_AREA)
    image = camera_noise(rng, image)
    keypoints = [_annotate(p, 32 * (i + 1), ids, spec.image_size) for i, p in enumerate(persons)]
    areas = [float(np.count_nonzero(mask)) / _SCALE**2 for mask in own]
    flags = [False] * len(persons)
    if crowd is not None:
        keypoints.append(np.zeros((17, 3)))
        boxes.append(_extent(crowd))
        areas.append(float(np.count_nonzero(crowd)) / _SCALE**2)
        flags.append(True)
    seen = [i for i, area in enumerate(areas) if area > 0]
    return PuppetsImage(
        image=image,
        keypoints=np.array([keypoints[i] for i in seen]).reshape(-1, 17, 3),
        boxes=np.array([boxes[i] for i in seen]).reshape(-1, 4),
        areas=np.array([areas[i] for i in seen]),
        crowd=np.array([flags[i] for i in seen], bool),
    )


# Persons --------------------------------------------------------------------------------


def _place_persons(rng: np.random.Generator, spec: PuppetsSpec) -> list[_Person]:
    """Persons from far (small) to near (large), each at a place of its own."""
    count = int(rng.integers(spec.min_persons, spec.max_persons + 1))
    low, high = np.log(spec.min_height), np.log(spec.max_height)
    heights = np.sort(np.exp(rng.uniform(low, high, count))) * spec.image_size
    persons: list[_Person] = []
    for height in heights:
        joints, parts = pose_body(rng)
        persons.append(_place(rng, spec, joints, parts, float(height), persons))
    return persons


def _place(
    rng: np.random.Generator,
    spec: PuppetsSpec,
    joints: np.ndarray,
    parts: list[Part],
    height: float,
    others: list[_Person],
) -> _Person:
    """Draw places until one is far enough from the others; the last resort is the farthest."""
    low = np.min([(p.centers[:, :2] - p.radii[:, None]).min(0) for p in parts], 0) * height
    high = np.max([(p.centers[:, :2] + p.radii[:, None]).max(0) for p in parts], 0) * height
    # One in six is cut by the border, by up to a third of its extent.
    cut = rng.uniform(0.0, 0.33) if rng.random() < 1 / 6 else 0.0
    slack = cut * (high - low)
    first, last = -low - slack, spec.image_size - high + slack
    first, last = np.minimum(first, last), np.maximum(first, last)
    wanted = rng.uniform(0.2, 0.9)
    best, best_distance = rng.uniform(first, last), -1.0
    for _ in range(_PLACES):
        at = rng.uniform(first, last)
        center = at + (low + high) / 2
        distance = min(
            (
                float(
                    np.abs(
                        (center - other.joints.mean(0)) / ((high - low + other.height) / 2)
                    ).max()
                )
                for other in others
            ),
            default=np.inf,
        )
        if distance > best_distance:
            best, best_distance = at, distance
        if distance >= wanted:
            break
    moved = [
        Part(p.name, p.centers * height + [*best, 0.0], p.radii * height, p.depth) for p in parts
    ]
    colours = part_colours(rng, spec.cue)
    return _Person(joints[:, :2] * height + best, moved, height * 0.45, colours)


# Painting -------------------------------------------------------------------------------


def _paint(canvas: np.ndarray, ids: np.ndarray, person: _Person, *, first_id: int) -> np.ndarray:
    """Paint a person's parts from far to near. Returns its whole silhouette, uint8."""
    silhouette = np.zeros(ids.shape, np.uint8)
    order = sorted(range(len(person.parts)), key=lambda i: person.parts[i].depth)
    for i in order:
        part = person.parts[i]
        outline = _hull(part, 1.0)
        colour = person.colours[part.name]
        cv2.fillConvexPoly(canvas, outline, (colour * 0.82).tolist(), shift=4)
        if part.name.endswith(LIMBS) or part.name in ('torso', 'head', 'hair'):
            # A lighter middle makes the part round.
            cv2.fillConvexPoly(canvas, _hull(part, 0.6), colour.tolist(), shift=4)
        cv2.fillConvexPoly(ids, outline, first_id + i, shift=4)
        cv2.fillConvexPoly(silhouette, outline, 1, shift=4)
    return silhouette


def _hull(part: Part, share: float) -> np.ndarray:
    """The outline of a part's balls in 1/16 pixels of the enlarged canvas, ``(k, 1, 2)``."""
    around = part.centers[:, None, :2] + share * part.radii[:, None, None] * _CIRCLE
    # A pixel's centre is at + 0.5 here, at its integer coordinate in OpenCV.
    points = np.round((around.reshape(-1, 2) * _SCALE - 0.5) * 16).astype(np.int32)
    return cv2.convexHull(points)


def _annotate(person: _Person, first_id: int, ids: np.ndarray, size: int) -> np.ndarray:
    """``(17, 3)`` x, y, v; a joint is seen where one of its own parts is the nearest thing."""
    names = [part.name for part in person.parts]
    result = np.zeros((17, 3))
    for name, number in JOINT.items():
        x, y = person.joints[number]
        if not (0 <= x < size and 0 <= y < size):
            continue
        front = int(ids[int(y * _SCALE), int(x * _SCALE)]) - first_id
        seen = 0 <= front < len(names) and names[front] in JOINTS_ON[name]
        result[number] = x, y, 2 if seen else 1
    return result


def _extent(mask: np.ndarray) -> np.ndarray:
    """Xyxy in image pixels around what is not 0."""
    columns, rows = mask.any(0).nonzero()[0], mask.any(1).nonzero()[0]
    if not len(columns):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / _SCALE


def _draw_huddle(rng: np.random.Generator, spec: PuppetsSpec, canvas: np.ndarray) -> np.ndarray:
    """A few small people close together, painted in place. Returns their mask."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    ids = np.zeros(canvas.shape[:2], np.int32)
    at = rng.uniform(0.2, 0.8, 2) * spec.image_size
    for _ in range(int(rng.integers(4, 8))):
        joints, parts = pose_body(rng)
        height = rng.uniform(0.2, 0.3) * spec.image_size
        place = at + rng.normal(0, 0.08, 2) * spec.image_size
        moved = [
            Part(p.name, p.centers * height + [*place, 0.0], p.radii * height, p.depth)
            for p in parts
        ]
        person = _Person(joints[:, :2] * height + place, moved, height, part_colours(rng, spec.cue))
        mask |= _paint(canvas, ids, person, first_id=32)
    return mask
