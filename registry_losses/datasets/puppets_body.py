"""The body of a puppet: joints in space within their limits, and the parts around them.

Coordinates: x to the viewer's right, y down, z towards the viewer, in units of the
standing height. A puppet that faces the viewer has its left at +x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..structures.skeleton import COCO_17

JOINT = {name: i for i, name in enumerate(COCO_17.joints)}
SIDES = (('left', 1.0), ('right', -1.0))


@dataclass(frozen=True)
class Part:
    """A convex piece of a body: the hull of a few balls.

    Args:
        name: Such as ``left_thigh``.
        centers: ``(k, 3)`` of the balls.
        radii: ``(k,)``.
        depth: Its place in the order of painting; larger is nearer.
    """

    name: str
    centers: np.ndarray
    radii: np.ndarray
    depth: float


JOINTS_ON: dict[str, tuple[str, ...]] = {
    'nose': ('nose',),
    **{f'{s}_eye': (f'{s}_eye',) for s, _ in SIDES},
    **{f'{s}_ear': (f'{s}_ear',) for s, _ in SIDES},
    **{f'{s}_shoulder': ('torso', 'neck', f'{s}_upper_arm') for s, _ in SIDES},
    **{f'{s}_elbow': (f'{s}_upper_arm', f'{s}_forearm') for s, _ in SIDES},
    **{f'{s}_wrist': (f'{s}_forearm', f'{s}_hand') for s, _ in SIDES},
    **{f'{s}_hip': ('torso', f'{s}_thigh') for s, _ in SIDES},
    **{f'{s}_knee': (f'{s}_thigh', f'{s}_shin') for s, _ in SIDES},
    **{f'{s}_ankle': (f'{s}_shin', f'{s}_foot') for s, _ in SIDES},
}
"""The parts that show a joint where they are the nearest thing at its place."""


def pose_body(rng: np.random.Generator) -> tuple[np.ndarray, list[Part]]:
    """A random pose.

    Returns:
        ``(17, 3)`` COCO's joints, the middle of the hips at the origin, and the parts.
    """
    points: dict[str, np.ndarray] = {}
    _place_legs(rng, points)
    _place_trunk(rng, points)
    turn = _camera(rng) @ _about_y(_facing(rng))
    points = {name: turn @ point for name, point in points.items()}
    joints = np.stack([points[name] for name in COCO_17.joints])
    return joints, _parts(points)


def _facing(rng: np.random.Generator) -> float:
    """55 % look towards the viewer, 20 % away, the rest to a side; radians."""
    draw = rng.random()
    if draw < 0.55:
        return np.deg2rad(rng.uniform(-40, 40))
    if draw < 0.75:
        return np.pi + np.deg2rad(rng.uniform(-40, 40))
    return np.deg2rad(rng.choice([-1, 1]) * rng.uniform(40, 140))


def _camera(rng: np.random.Generator) -> np.ndarray:
    """A camera that looks a little up or down and is held a little askew."""
    return _about_z(np.deg2rad(rng.normal(0, 8))) @ _about_x(np.deg2rad(rng.uniform(-15, 15)))


def _place_legs(rng: np.random.Generator, points: dict[str, np.ndarray]) -> None:
    seated = rng.random() < 0.15
    for side, sign in SIDES:
        hip = np.array([0.085 * sign, 0.0, 0.0])
        flex = rng.uniform(50, 95) if seated else rng.normal(8, 22)
        thigh = _swing(np.clip(flex, -25, 100), np.clip(rng.normal(8, 9), -5, 45), sign)
        bend = rng.uniform(40, 110) if seated else abs(rng.normal(0, 30)) + max(0.0, flex - 30)
        shin = _bend(thigh, np.array([0.0, 0.0, -1.0]), np.clip(bend, 0, 130))
        knee = hip + 0.24 * thigh
        ankle = knee + 0.235 * shin
        points[f'{side}_hip'], points[f'{side}_knee'] = hip, knee
        points[f'{side}_ankle'] = ankle
        points[f'{side}_toe'] = ankle + 0.06 * _bend(shin, np.array([0.0, 0.0, 1.0]), 75)


def _place_trunk(rng: np.random.Generator, points: dict[str, np.ndarray]) -> None:
    lean = _about_z(np.deg2rad(rng.normal(0, 8))) @ _about_x(np.deg2rad(_lean(rng)))
    lean = lean @ _about_y(np.deg2rad(rng.normal(0, 12)))
    upper: dict[str, np.ndarray] = {'neck': np.array([0.0, -0.3, 0.0])}
    for side, sign in SIDES:
        shoulder = np.array([0.115 * sign, -0.275, 0.0])
        flex = rng.uniform(60, 170) if rng.random() < 0.25 else rng.normal(10, 32)
        spread = rng.uniform(40, 110) if rng.random() < 0.25 else abs(rng.normal(12, 18))
        arm = _swing(np.clip(flex, -45, 175), np.clip(spread, 0, 110), sign)
        towards = np.array([-0.5 * sign * rng.random(), -0.4 * rng.random(), 1.0])
        forearm = _bend(arm, towards, np.clip(abs(rng.normal(20, 45)), 0, 140))
        elbow = shoulder + 0.165 * arm
        wrist = elbow + 0.15 * forearm
        upper[f'{side}_shoulder'], upper[f'{side}_elbow'] = shoulder, elbow
        upper[f'{side}_wrist'], upper[f'{side}_tip'] = wrist, wrist + 0.035 * forearm
    nod = _about_x(np.deg2rad(rng.normal(0, 12))) @ _about_z(np.deg2rad(rng.normal(0, 8)))
    look = _about_y(np.deg2rad(np.clip(rng.normal(0, 25), -70, 70))) @ nod
    head = {
        'head': (0.0, 0.0, 0.0),
        'hair': (0.0, -0.014, -0.022),
        'nose': (0.0, 0.008, 0.066),
        'left_eye': (0.027, -0.012, 0.056),
        'right_eye': (-0.027, -0.012, 0.056),
        'left_ear': (0.064, 0.0, -0.002),
        'right_ear': (-0.064, 0.0, -0.002),
    }
    center = np.array([0.0, -0.392, 0.008])
    upper.update({name: center + look @ np.array(at) for name, at in head.items()})
    points.update({name: lean @ point for name, point in upper.items()})


def _lean(rng: np.random.Generator) -> float:
    """Degrees about x; positive bends forward."""
    return float(np.clip(rng.normal(6, 12), -20, 60))


def _parts(points: dict[str, np.ndarray]) -> list[Part]:
    parts = [
        _part('torso', points, ('left_shoulder', 'right_shoulder', 'left_hip', 'right_hip'),
              (0.04, 0.04, 0.055, 0.055)),
        _part('neck', points, ('neck', 'head'), (0.03, 0.03)),
        _part('head', points, ('head',), (0.065,)),
        _part('hair', points, ('hair',), (0.066,)),
        # What lies on the head's surface is nearer than its middle by a little.
        _part('nose', points, ('nose',), (0.014,)),
    ]  # fmt: skip
    for side, _ in SIDES:
        names = {name: f'{side}_{name}' for name in ('shoulder', 'elbow', 'wrist', 'tip')}
        parts += [
            _part(f'{side}_eye', points, (f'{side}_eye',), (0.013,)),
            _part(f'{side}_ear', points, (f'{side}_ear',), (0.018,)),
            _part(f'{side}_upper_arm', points, (names['shoulder'], names['elbow']), (0.037, 0.03)),
            _part(f'{side}_forearm', points, (names['elbow'], names['wrist']), (0.03, 0.022)),
            _part(f'{side}_hand', points, (names['wrist'], names['tip']), (0.02, 0.024)),
            _part(f'{side}_thigh', points, (f'{side}_hip', f'{side}_knee'), (0.056, 0.04)),
            _part(f'{side}_shin', points, (f'{side}_knee', f'{side}_ankle'), (0.04, 0.026)),
            _part(f'{side}_foot', points, (f'{side}_ankle', f'{side}_toe'), (0.026, 0.022)),
        ]
    return parts


def _part(
    name: str, points: dict[str, np.ndarray], at: tuple[str, ...], radii: tuple[float, ...]
) -> Part:
    centers = np.stack([points[p] for p in at])
    return Part(name, centers, np.array(radii), float(centers[:, 2].mean()))


def _swing(flex: float, spread: float, sign: float) -> np.ndarray:
    """A limb that hangs down, lifted forward by ``flex`` and outward by ``spread`` degrees."""
    f, a = np.deg2rad(flex), np.deg2rad(spread)
    return np.array([sign * np.sin(a), np.cos(a) * np.cos(f), np.cos(a) * np.sin(f)])


def _bend(direction: np.ndarray, towards: np.ndarray, degrees: float) -> np.ndarray:
    """``direction`` turned by an angle towards another."""
    across = towards - (towards @ direction) * direction
    length = np.linalg.norm(across)
    if length < 1e-6:
        return direction
    angle = np.deg2rad(degrees)
    return np.cos(angle) * direction + np.sin(angle) * across / length


def _about_x(angle: float) -> np.ndarray:
    """Positive bends what stands upright towards the viewer."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def _about_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
