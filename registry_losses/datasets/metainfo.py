"""Class names of the public label sets, and colours for any number of classes."""

from __future__ import annotations

import colorsys

from ..structures.skeleton import COCO_17


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(','))


COCO_CLASSES: tuple[str, ...] = _names(
    'person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,'
    'stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,'
    'backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,'
    'baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,'
    'fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,'
    'cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,'
    'cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,'
    'hair drier,toothbrush'
)

VOC_CLASSES: tuple[str, ...] = _names(
    'aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,'
    'person,pottedplant,sheep,sofa,train,tvmonitor'
)

DIGIT_CLASSES: tuple[str, ...] = tuple('0123456789')


def make_palette(num_classes: int) -> list[tuple[int, int, int]]:
    """Distinct RGB colours, 0 to 255: hues a golden angle apart at three brightnesses.

    Example:
        >>> len(set(make_palette(80)))
        80
    """
    golden = 0.618033988749895
    palette = []
    for i in range(num_classes):
        r, g, b = colorsys.hsv_to_rgb(i * golden % 1, 0.85 - 0.2 * (i % 2), 1 - 0.18 * (i % 3))
        palette.append((round(r * 255), round(g * 255), round(b * 255)))
    return palette


COCO_PERSON: dict = dict(
    classes=('person',),
    palette=make_palette(1),
    num_keypoints=COCO_17.num_joints,
    keypoints=COCO_17.joints,
    skeleton=COCO_17.limbs,
    flip_indices=COCO_17.flip_indices,
    sigmas=COCO_17.sigmas,
)
"""What a data set of people with COCO's 17 joints says of itself."""
