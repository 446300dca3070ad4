"""Skeletons: which joints a person has, which are joined, and which mirror each other.

Shapes: V joints, L limbs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True)
class Skeleton:
    """The joints of a person and the limbs between them.

    Args:
        joints: V names, in the order of the heatmaps.
        limbs: L pairs (from, to) of joint indices; a limb's field points from its first
            joint to its second.
        flip_indices: For each joint the one that takes its place in a mirrored image.
        sigmas: For each joint how far annotators disagree on it, in units of the square
            root of the person's area (COCO's OKS).
        sources: Joints that are worked out from others: index to the joints whose mean
            it is. Empty where every joint is annotated.

    Raises:
        ConfigError: If a limb or an index names a joint that is not there, or the flip
            is no exchange of pairs.
    """

    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flip_indices: tuple[int, ...]
    sigmas: tuple[float, ...]
    sources: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        v = len(self.joints)
        for name in ('flip_indices', 'sigmas'):
            if len(getattr(self, name)) != v:
                raise ConfigError(
                    f'skeleton.{name}: expected one of {v} joints, got {len(getattr(self, name))}'
                )
        if any(not 0 <= joint < v for limb in self.limbs for joint in limb):
            raise ConfigError(f'skeleton.limbs: expected joints 0 to {v - 1}, got {self.limbs}')
        if [self.flip_indices[i] for i in self.flip_indices] != list(range(v)):
            raise ConfigError('skeleton.flip_indices: expected pairs that change places')

    @property
    def num_joints(self) -> int:
        """V."""
        return len(self.joints)

    @property
    def num_limbs(self) -> int:
        """L."""
        return len(self.limbs)

    def flipped_limbs(self) -> tuple[tuple[int, int], ...]:
        """For each limb the one that takes its place in a mirrored image, and its sense.

        Returns:
            L pairs (limb, sign): sign -1 where that limb is listed the other way round.

        Raises:
            ConfigError: If the mirror image of a limb is no limb.
        """
        index = {limb: i for i, limb in enumerate(self.limbs)}
        result = []
        for a, b in self.limbs:
            mirrored = (self.flip_indices[a], self.flip_indices[b])
            if mirrored in index:
                result.append((index[mirrored], 1))
            elif mirrored[::-1] in index:
                result.append((index[mirrored[::-1]], -1))
            else:
                names = [self.joints[j] for j in (a, b)]
                raise ConfigError(f'skeleton: the limb {names} has no mirror image among the limbs')
        return tuple(result)


def _pairs(joints: Sequence[str]) -> tuple[int, ...]:
    """Exchange left and right by their names."""
    index = {name: i for i, name in enumerate(joints)}
    swap = {'left': 'right', 'right': 'left'}
    result = []
    for name in joints:
        side, _, rest = name.partition('_')
        result.append(index[f'{swap[side]}_{rest}'] if side in swap else index[name])
    return tuple(result)


def _limbs(joints: Sequence[str], text: str) -> tuple[tuple[int, int], ...]:
    index = {name: i for i, name in enumerate(joints)}
    pairs = (pair.split('-') for pair in text.split())
    return tuple((index[a], index[b]) for a, b in pairs)


_COCO_JOINTS = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder',
    'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip',
    'left_knee', 'right_knee', 'left_ankle', 'right_ankle',
)  # fmt: skip
_COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
    0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip

COCO_17 = Skeleton(
    joints=_COCO_JOINTS,
    limbs=_limbs(
        _COCO_JOINTS,
        'left_ankle-left_knee left_knee-left_hip right_ankle-right_knee right_knee-right_hip '
        'left_hip-right_hip left_shoulder-left_hip right_shoulder-right_hip '
        'left_shoulder-right_shoulder left_shoulder-left_elbow right_shoulder-right_elbow '
        'left_elbow-left_wrist right_elbow-right_wrist left_eye-right_eye nose-left_eye '
        'nose-right_eye left_eye-left_ear right_eye-right_ear left_ear-left_shoulder '
        'right_ear-right_shoulder',
    ),
    flip_indices=_pairs(_COCO_JOINTS),
    sigmas=_COCO_SIGMAS,
)
"""COCO's 17 joints (Lin et al. 2014) and its 19 limbs."""

_OPENPOSE_JOINTS = (
    'nose', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow',
    'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle',
    'right_eye', 'left_eye', 'right_ear', 'left_ear',
)  # fmt: skip

OPENPOSE_18 = Skeleton(
    joints=_OPENPOSE_JOINTS,
    limbs=_limbs(
        _OPENPOSE_JOINTS,
        'neck-right_hip right_hip-right_knee right_knee-right_ankle neck-left_hip '
        'left_hip-left_knee left_knee-left_ankle neck-right_shoulder right_shoulder-right_elbow '
        'right_elbow-right_wrist right_shoulder-right_ear neck-left_shoulder '
        'left_shoulder-left_elbow left_elbow-left_wrist left_shoulder-left_ear neck-nose '
        'nose-right_eye nose-left_eye right_eye-right_ear left_eye-left_ear',
    ),
    flip_indices=_pairs(_OPENPOSE_JOINTS),
    # The neck has no figure in COCO; the shoulders' serves.
    sigmas=tuple(
        0.079 if name == 'neck' else _COCO_SIGMAS[_COCO_JOINTS.index(name)]
        for name in _OPENPOSE_JOINTS
    ),
    sources=tuple(
        (5, 6) if name == 'neck' else (_COCO_JOINTS.index(name),) for name in _OPENPOSE_JOINTS
    ),
)
"""OpenPose's 18 joints (Cao et al. 2017): COCO's and a neck half way between the shoulders.

The two limbs from shoulder to ear make 19: ears are often hidden, and a second way leads
to them."""

SKELETONS: dict[str, Skeleton] = {'coco_17': COCO_17, 'openpose_18': OPENPOSE_18}


def find_skeleton(skeleton: 'Skeleton | str') -> Skeleton:
    """The skeleton of a name, or the one given.

    Raises:
        ConfigError: For a name that is not one of :data:`SKELETONS`.
    """
    if isinstance(skeleton, Skeleton):
        return skeleton
    if skeleton not in SKELETONS:
        raise ConfigError(f'skeleton: expected one of {list(SKELETONS)}, got {skeleton!r}')
    return SKELETONS[skeleton]
