"""What puppets wear and what stands around them.

Images are RGB float32 in [0, 255]; S is the canvas side.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

LIMBS = ('upper_arm', 'forearm', 'thigh', 'shin')
_CODED_HUES = {
    f'{side}_{limb}': (i + 0.5 * (side == 'right')) / len(LIMBS)
    for side in ('left', 'right')
    for i, limb in enumerate(LIMBS)
}


def part_colours(rng: np.random.Generator, cue: str) -> dict[str, np.ndarray]:
    """RGB of every part of one person."""
    strength, light = rng.uniform(0.55, 1.0), rng.uniform(0.55, 1.0)
    skin = _rgb(rng.uniform(0.04, 0.1), rng.uniform(0.25, 0.6), rng.uniform(0.45, 0.95))
    hair = _rgb(rng.uniform(0, 0.15), rng.uniform(0.2, 0.8), rng.uniform(0.08, 0.5))
    shirt = _rgb(rng.random(), rng.uniform(0.0, 0.5), rng.uniform(0.25, 0.95))
    trousers = _rgb(rng.random(), rng.uniform(0.0, 0.6), rng.uniform(0.2, 0.9))
    shift = rng.normal(0, 0.012)
    colours = dict(torso=shirt, neck=skin, head=skin, hair=hair, nose=skin * 0.72)
    for side in ('left', 'right'):
        shade = 0.55 if side == 'left' else 1.0
        for limb in LIMBS:
            name = f'{side}_{limb}'
            if cue == 'coded':
                colours[name] = _rgb((_CODED_HUES[name] + shift) % 1, strength, light)
            else:
                colours[name] = (shirt if limb in ('upper_arm', 'forearm') else trousers) * shade
        colours[f'{side}_hand'] = skin * (1.0 if cue == 'coded' else shade)
        colours[f'{side}_foot'] = 0.45 * colours[f'{side}_shin']
        eye = (0.62, 0.9, 0.5) if side == 'left' else (0.0, 0.9, 0.5)
        ear = (0.55, 0.7, 0.75) if side == 'left' else (0.9, 0.7, 0.85)
        colours[f'{side}_eye'] = _rgb(*eye) if cue == 'coded' else _rgb(0, 0, 0.1)
        colours[f'{side}_ear'] = _rgb(*ear) if cue == 'coded' else skin * 0.85 * shade
    return colours


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def background(rng: np.random.Generator, size: int, scale: int) -> np.ndarray:
    """Coloured clouds and a few strokes and discs, enlarged: ``(scale S, scale S, 3)`` float32."""
    cells = int(rng.integers(3, 12))
    cloud = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
    grey = cloud.mean(2, keepdims=True)
    cloud = grey * np.float32(rng.uniform(10, 45)) + (cloud - grey) * np.float32(rng.uniform(2, 16))
    canvas = cv2.resize(cloud, (scale * size,) * 2, interpolation=cv2.INTER_CUBIC)
    canvas += np.float32(rng.uniform(50, 205))
    for _ in range(int(rng.integers(0, 5))):
        ends = np.round(rng.uniform(-0.2, 1.2, (2, 2)) * scale * size * 16).astype(int)
        colour = _rgb(rng.random(), rng.uniform(0, 0.5), rng.uniform(0.1, 1.0)).tolist()
        if rng.random() < 0.6:
            width = int(rng.integers(1, max(2, size // 12))) * scale
            cv2.line(
                canvas, tuple(ends[0].tolist()), tuple(ends[1].tolist()), colour, width, shift=4
            )
        else:
            radius = int(rng.uniform(0.02, 0.12) * size * scale * 16)
            cv2.circle(canvas, tuple(ends[0].tolist()), radius, colour, -1, shift=4)
    return np.clip(canvas, 0, 255)


def camera_noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Blur, gain and grain, then uint8."""
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.2, 0.7)))
    image *= np.float32(rng.uniform(0.85, 1.1))
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 6))
    return np.clip(image + grain + 0.5, 0, 255).astype(np.uint8)
