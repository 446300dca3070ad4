"""Draws images of real handwritten digits on textured canvases.

NumPy and OpenCV only. Every image is a function of (version, seed, split, index), so
images can be drawn in any order and on any number of threads.

Legend: S canvas side, n digits of an image. Images are RGB uint8 ``(S, S, 3)``; masks
are float32 coverage in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ..errors import MissingDependencyError
from .digits_ink import ink_box, render_digit

VERSION = 2
"""Raise it when the same seed no longer draws the same images: old files are remade."""

_MIN_CONTRAST = 50.0
_MIN_VISIBLE = 0.8
_MAX_SHARED = 0.3
_PLACE_TRIES = 30
_COLOUR_TRIES = 12
_SPLITS = ('train', 'val')


@dataclass(frozen=True)
class DigitsSpec:
    """What the images are made from; stored beside them and compared on the next start.

    Args:
        seed: Any integer.
        num_train: Training images.
        num_val: Validation images.
        image_size: Canvas side in pixels.
        max_digits: Digits of an image are uniform in 0 to this.
        min_side: Smallest longer side of a digit's ink, pixels.
        max_side: Largest; sizes are log-uniform between the two.
    """

    seed: int = 0
    num_train: int = 2000
    num_val: int = 250
    image_size: int = 128
    max_digits: int = 10
    min_side: float = 16.0
    max_side: float = 56.0


@dataclass
class DigitsImage:
    """One drawn image with its boxes and, for tests, the ink that is visible of each."""

    image: np.ndarray
    """``(S, S, 3)`` uint8, RGB."""
    boxes: np.ndarray
    """``(n, 4)`` float64 xyxy, the visible ink's extent."""
    labels: np.ndarray
    """``(n,)`` int64, the digit."""
    visible: np.ndarray
    """``(n,)`` share of each digit's ink that later digits leave uncovered."""
    masks: np.ndarray
    """``(n, S, S)`` float32, the visible coverage."""
    samples: np.ndarray
    """``(n,)`` int64, index of the handwritten sample."""


@lru_cache(maxsize=1)
def load_samples() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits: ``(1797, 8, 8)`` float32 in [0, 1], ``(1797,)``.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError(
            'the digits data set is drawn from scikit-learn, which is not installed: '
            'pip install scikit-learn'
        ) from error
    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


def split_samples(split: str) -> np.ndarray:
    """Indices of the handwritten samples of a split: of each digit every fifth is for val.

    The two splits share no sample, whatever the seed of the images.
    """
    if split not in _SPLITS:
        raise ValueError(f'split: expected one of {_SPLITS}, got {split!r}')
    labels = load_samples()[1]
    order = np.zeros(len(labels), np.int64)
    for digit in range(10):
        where = np.flatnonzero(labels == digit)
        order[where] = np.arange(len(where))
    is_val = order % 5 == 4
    return np.flatnonzero(is_val if split == 'val' else ~is_val)


def draw_image(spec: DigitsSpec, split: str, index: int) -> DigitsImage:
    """Draw image ``index`` of ``split``."""
    entropy = [VERSION, spec.seed % 2**32, _SPLITS.index(split), index, 1]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
    size = spec.image_size
    canvas = _background(rng, size)
    for _ in range(int(rng.integers(0, 4))):
        _clutter_stroke(rng, canvas)
    digits = _place_digits(rng, canvas, spec, split_samples(split))
    canvas = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.3, 0.8)))
    # Grain partly common to the channels, as a sensor's is, partly of each.
    sigma = rng.uniform(1.5, 6.0)
    canvas += rng.standard_normal((size, size, 1), np.float32) * np.float32(sigma)
    canvas += rng.standard_normal((size, size, 3), np.float32) * np.float32(sigma * 0.4)
    image = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return _with_boxes(image, digits, size)


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A tinted base, a gradient, two scales of cloud and sometimes stripes, ``(S, S, 3)``."""
    base = rng.uniform(45, 210)
    grid = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.float32(np.cos(angle)) * grid, np.float32(np.sin(angle)) * grid
    grey = np.float32(rng.uniform(0, 50)) * (x[None, :] + y[:, None])  # (S, S)
    for cells, amplitude in ((4, 10), (int(rng.integers(10, 33)), 6)):
        noise = rng.standard_normal((cells, cells), np.float32)
        cloud = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        grey += cloud * np.float32(rng.uniform(0.2, 1) * amplitude)
    if rng.random() < 0.3:
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 24)
        phase = (np.cos(angle) * grid[None, :] + np.sin(angle) * grid[:, None]) * size / period
        grey += (rng.uniform(3, 9) * np.sin(2 * np.pi * phase + rng.uniform(0, 6))).astype(
            np.float32
        )
    return np.ascontiguousarray(grey[..., None] + np.float32(base) + _tint(rng, 18))


def _tint(rng: np.random.Generator, strength: float) -> np.ndarray:
    """A colour offset ``(3,)`` of mean 0, so that it leaves the grey level alone."""
    tint = rng.normal(0, strength, 3)
    return (tint - tint.mean()).astype(np.float32)


def _clutter_stroke(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """A pen stroke across the canvas, drawn in place, with a digit's kind of contrast.

    It runs from border to border, longer than any digit: a short straight one could
    pass for a 1.
    """
    size = canvas.shape[0]
    start, end = rng.uniform(0, 2 * np.pi) + np.array([0, np.pi + rng.uniform(-0.9, 0.9)])
    radius = 0.75 * size
    centre = size / 2
    p0 = centre + radius * np.array([np.cos(start), np.sin(start)])
    p2 = centre + radius * np.array([np.cos(end), np.sin(end)])
    p1 = rng.uniform(0.1, 0.9, 2) * size
    t = np.linspace(0, 1, 24)[:, None]
    curve = (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2  # (24, 2), quadratic Bezier
    mask = np.zeros((size, size), np.uint8)
    points = np.round(curve * 16).astype(np.int32)
    thickness = int(rng.integers(1, 4))
    cv2.polylines(mask, [points], False, 255, thickness, cv2.LINE_AA, shift=4)
    mean = float(canvas[mask > 127].mean()) if (mask > 127).any() else float(canvas.mean())
    alpha = mask.astype(np.float32) * np.float32(rng.uniform(0.5, 0.9) / 255)
    _blend(canvas, alpha, _ink_colour(rng, mean))


def _ink_colour(rng: np.random.Generator, background: float) -> np.ndarray:
    """RGB ``(3,)`` at least the minimum contrast lighter or darker than the background."""
    contrast = rng.uniform(_MIN_CONTRAST + 10, 150)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    if not 5 <= background + sign * contrast <= 250:
        sign = -sign
    level = background + sign * contrast
    # Near the middle neither side has room for a large contrast: take what there is,
    # which is more than the minimum because one side always has 127.
    grey = float(np.clip(level, 5, 250))
    tint = _tint(rng, 25)
    room = min(grey, 255 - grey)
    peak = float(np.abs(tint).max())
    return np.float32(grey) + tint * np.float32(min(1.0, room / max(peak, 1e-6)))


def _blend(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    canvas += alpha[..., None] * (colour - canvas)


@dataclass
class _Placed:
    """A digit on the canvas: its coverage in a window, and where the window is."""

    alpha: np.ndarray
    visible: np.ndarray
    x: int
    y: int
    box: np.ndarray
    label: int
    sample: int
    colour: np.ndarray | None = None

    @property
    def window(self) -> tuple[slice, slice]:
        h, w = self.alpha.shape
        return slice(self.y, self.y + h), slice(self.x, self.x + w)


def _place_digits(
    rng: np.random.Generator, canvas: np.ndarray, spec: DigitsSpec, pool: np.ndarray
) -> list[_Placed]:
    """Paste up to ``max_digits`` digits so that each stays visible; drawn in place."""
    images, labels = load_samples()
    placed: list[_Placed] = []
    for _ in range(int(rng.integers(0, spec.max_digits + 1))):
        sample = int(rng.choice(pool))
        side = float(np.exp(rng.uniform(np.log(spec.min_side), np.log(spec.max_side))))
        alpha = render_digit(rng, images[sample], side)
        for _ in range(_PLACE_TRIES):
            digit = _propose(rng, alpha, spec.image_size, int(labels[sample]), sample)
            if digit is not None and _leaves_visible(digit, placed):
                _paste(rng, canvas, digit, placed)
                break
    return placed


def _propose(
    rng: np.random.Generator, alpha: np.ndarray, size: int, label: int, sample: int
) -> _Placed | None:
    """A random place with all the ink on the canvas; the soft edge may reach over it."""
    ink = np.array(ink_box(alpha))
    low, high = np.ceil(-ink[:2]), np.floor(size - ink[2:])
    if (high < low).any():
        return None
    x, y = (int(v) for v in rng.integers(low, high + 1))
    part = alpha[max(0, -y) : size - y, max(0, -x) : size - x]
    box = ink + [x, y, x, y]
    return _Placed(part, part.copy(), max(0, x), max(0, y), box, label, sample)


def _leaves_visible(new: _Placed, placed: list[_Placed]) -> bool:
    """Whether every earlier digit keeps enough ink, and no two share much of their boxes."""
    for old in placed:
        overlap = _overlap(new, old)
        if overlap is None:
            continue
        shared = np.minimum(new.box[2:], old.box[2:]) - np.maximum(new.box[:2], old.box[:2])
        smaller = min((d.box[2:] - d.box[:2]).prod() for d in (new, old))
        if np.clip(shared, 0, None).prod() > _MAX_SHARED * smaller:
            return False
        # Ink under a thin veil still counts as hidden in proportion to the veil.
        hidden = float((old.visible[overlap[1]] * new.alpha[overlap[0]]).sum())
        if old.visible.sum() - hidden < _MIN_VISIBLE * old.alpha.sum():
            return False
    return True


def _overlap(a: _Placed, b: _Placed) -> tuple[tuple, tuple] | None:
    """The common window, as slices into each one's own; None where they are apart."""
    x1, y1 = max(a.x, b.x), max(a.y, b.y)
    x2 = min(a.x + a.alpha.shape[1], b.x + b.alpha.shape[1])
    y2 = min(a.y + a.alpha.shape[0], b.y + b.alpha.shape[0])
    if x2 <= x1 or y2 <= y1:
        return None

    def part(d: _Placed) -> tuple[slice, slice]:
        return slice(y1 - d.y, y2 - d.y), slice(x1 - d.x, x2 - d.x)

    return part(a), part(b)


def _paste(
    rng: np.random.Generator, canvas: np.ndarray, digit: _Placed, placed: list[_Placed]
) -> None:
    neighbours = []
    for old in placed:
        overlap = _overlap(digit, old)
        if overlap is not None:
            old.visible[overlap[1]] *= 1 - digit.alpha[overlap[0]]
            neighbours.append(old.colour)
    window = canvas[digit.window]
    ring = cv2.dilate(digit.alpha, np.ones((5, 5), np.uint8))
    mean = float((window.mean(2) * ring).sum() / ring.sum())
    # Contrast with the canvas is certain; one with every digit it touches is tried for.
    for _ in range(_COLOUR_TRIES):
        digit.colour = colour = _ink_colour(rng, mean)
        if all(np.abs(colour - c).max() >= _MIN_CONTRAST for c in neighbours):
            break
    _blend(window, digit.alpha, colour)
    placed.append(digit)


def _with_boxes(image: np.ndarray, digits: list[_Placed], size: int) -> DigitsImage:
    boxes, masks = np.zeros((len(digits), 4)), np.zeros((len(digits), size, size), np.float32)
    for i, digit in enumerate(digits):
        x1, y1, x2, y2 = ink_box(digit.visible)
        boxes[i] = x1 + digit.x, y1 + digit.y, x2 + digit.x, y2 + digit.y
        masks[i][digit.window] = digit.visible
    visible = [float(d.visible.sum() / d.alpha.sum()) for d in digits]
    return DigitsImage(
        image=image,
        boxes=np.clip(boxes, 0, size),
        labels=np.array([d.label for d in digits], np.int64),
        visible=np.array(visible),
        masks=masks,
        samples=np.array([d.sample for d in digits], np.int64),
    )
