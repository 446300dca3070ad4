"""Persons drawn on images: joints, and lines for the limbs between them.

Images are RGB uint8 ``(H, W, 3)``; drawing functions return a new one.
Shapes: n persons, V joints.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..structures.skeleton import SKELETONS
from .draw import Colour, write

PERSON_COLOURS: tuple[Colour, ...] = (
    (255, 90, 90), (80, 220, 80), (90, 160, 255), (255, 210, 50), (255, 90, 255), (80, 235, 235),
    (255, 150, 60), (180, 130, 255),
)  # fmt: skip
"""Colours that tell neighbours apart; a ninth person has the first one's."""

# Drawing coordinates are 1/16 pixels: small pictures are enlarged, and joints lie between.
_SHIFT = 4


def draw_skeletons(
    image: np.ndarray,
    keypoints: np.ndarray,
    found: np.ndarray,
    *,
    limbs: Sequence[Sequence[int]] | None = None,
    colours: Sequence[Colour] = PERSON_COLOURS,
    texts: Sequence[str] = (),
    thickness: int | None = None,
    text_height: int | None = None,
) -> np.ndarray:
    """Draw persons, the first one on top.

    Args:
        image: RGB.
        keypoints: ``(n, V, 2)`` x, y in pixels of the image.
        found: ``(n, V)``, above 0 for joints that are drawn; a limb needs both of its ends.
        limbs: Pairs of joints; by default those of the known skeleton with V joints.
        colours: Of the persons, in turn.
        texts: One a person, or none, written at its highest joint.
        thickness: Of the lines. Default: grows with the image.
        text_height: Of capitals, in pixels. Default: grows with the image.

    Returns:
        A copy with the persons.
    """
    canvas = np.ascontiguousarray(image).copy()
    longest = max(canvas.shape[:2])
    thickness = thickness or max(1, round(longest / 200))
    text_height = text_height or max(7, round(longest / 45))
    keypoints = np.asarray(keypoints, np.float64)
    drawn = (np.asarray(found) > 0) & np.isfinite(keypoints).all(-1)
    if limbs is None:
        limbs = limbs_of(keypoints.shape[1] if keypoints.ndim == 3 else 0)
    # Far-off points would overflow OpenCV; half a pixel: it counts from pixel centres.
    place = np.clip(np.nan_to_num(keypoints) - 0.5, -(2**13), 2**13) * 2**_SHIFT
    place = np.round(place).astype(int)
    for i in reversed(range(len(keypoints))):
        colour = colours[i % len(colours)]
        for a, b in limbs:
            if drawn[i, a] and drawn[i, b]:
                ends = tuple(place[i, a].tolist()), tuple(place[i, b].tolist())
                cv2.line(canvas, *ends, colour, thickness, cv2.LINE_AA, _SHIFT)
        for j in drawn[i].nonzero()[0]:
            at = tuple(place[i, j].tolist())
            for radius, ink in ((thickness + 1, (255, 255, 255)), (thickness, colour)):
                cv2.circle(canvas, at, radius << _SHIFT, ink, -1, cv2.LINE_AA, _SHIFT)
        if i < len(texts) and drawn[i].any():
            top = place[i][drawn[i]].min(0) >> _SHIFT
            write(canvas, texts[i], tuple(top.tolist()), colour, text_height)
    return canvas


def limbs_of(num_joints: int) -> Sequence[Sequence[int]]:
    """The limbs of the known skeleton with so many joints; none where there is none."""
    known = (s.limbs for s in SKELETONS.values() if s.num_joints == num_joints)
    return next(known, ())
