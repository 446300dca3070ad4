"""Any head trains with any assigner, sampler and loss, or says when it is built why not.

A cell changes one part of a small detector. By default each part is tried on some heads in
turn, and a few detectors change everything at once; the ``slow`` tests try every part on
every head.
"""

import copy
import random
from functools import cache

import pytest
from pairings import (
    HEADS,
    assigner_names,
    build,
    head_config,
    loss_nodes,
    node,
    problems_of,
    sampler_names,
)

from registry_losses.errors import PairingError

BOX_LOSSES = {
    **loss_nodes('box_encoded'),
    **loss_nodes('box_decoded'),
    **loss_nodes('distribution'),
}
# Where each part stands in a head's model node, and what may stand there.
CHOICES = {
    'assigner': {name: node(name) for name in assigner_names()},
    'sampler': {name: node(name) for name in sampler_names()},
    'loss_cls': loss_nodes('classification'),
    'loss_bbox': BOX_LOSSES,
    'loss_conf': loss_nodes('objectness'),
    'loss_obj': loss_nodes('objectness'),
    'loss_centerness': loss_nodes('centerness'),
    'loss_xy': loss_nodes('box_encoded'),
    'loss_wh': loss_nodes('box_encoded'),
    'loss_offset': loss_nodes('box_encoded'),
}
# Places of which only every so manieth loss is tried by default.
THINNED = dict(loss_conf=2, loss_centerness=2, loss_obj=4, loss_xy=4, loss_wh=4, loss_offset=4)
# The only codes that a loss of logits can be compared with: those that end in a sigmoid.
SIGMOID_CODES = {('yolov5', 'loss_bbox'), ('yolov3', 'loss_xy')}


@cache
def places(head: str) -> list[str]:
    """The parts that a head has."""
    own = head_config(head)['bbox_head']
    always = ('assigner', 'sampler', 'loss_cls', 'loss_bbox')
    return [place for place in CHOICES if place in always or own.get(place)]


def change(config: dict, place: str, part: dict) -> None:
    holder = 'train_cfg' if place in ('assigner', 'sampler') else 'bbox_head'
    config[holder][place] = copy.deepcopy(part)


def refused(head: str, place: str, name: str) -> bool:
    """Whether the pairing has no meaning."""
    if name == 'CrossEntropyLoss-sigmoid' and name in loss_nodes('box_encoded'):
        box = place not in ('loss_cls', 'loss_conf', 'loss_obj', 'loss_centerness')
        return box and (head, place) not in SIGMOID_CODES
    return name == 'DistributionFocalLoss'


ALL = [(head, place, name) for head in HEADS for place in places(head) for name in CHOICES[place]]


def some_cells() -> list[tuple[str, str, str]]:
    """Each part on one head, on the next head each, and the samplers on two."""
    chosen = []
    for shift, place in enumerate(CHOICES):
        heads = [head for head in HEADS if place in places(head)]
        for index, name in enumerate(CHOICES[place]):
            picks = {heads[(index * 2 + shift) % len(heads)]}
            if place == 'sampler':
                picks.add(heads[(index * 2 + shift + 5) % len(heads)])
            # The same losses as of classes: a share of them is enough.
            if index % THINNED.get(place, 1):
                continue
            chosen += [(head, place, name) for head in sorted(picks)]
    return chosen


def check_cell(head: str, place: str, name: str) -> None:
    config = head_config(head)
    change(config, place, CHOICES[place][name])
    if refused(head, place, name):
        with pytest.raises(PairingError, match=place):
            build(config)
        return
    # The weights of gradient harmonised losses follow the crowd of errors, so that their
    # value takes longer to fall.
    assert problems_of(config, steps=24 if name.startswith('GHM') else 8) == []


def check_cross(seed: int) -> None:
    """A detector all of whose parts are drawn."""
    draw = random.Random(seed)
    head = HEADS[seed % len(HEADS)]
    config = head_config(head)
    for place in places(head):
        names = [n for n in CHOICES[place] if not refused(head, place, n)]
        # CenterNet and YOLOv3 take either whole boxes or parts of their code.
        if place == 'loss_bbox' and draw.random() < 0.5 and 'loss_bbox' not in config['bbox_head']:
            continue
        change(config, place, CHOICES[place][draw.choice(names)])
    harmonised = any('GHM' in str(part) for part in config['bbox_head'].values())
    described = {**config['bbox_head'], **config['train_cfg']}
    assert problems_of(config, steps=24 if harmonised else 12) == [], described


@pytest.mark.parametrize(('head', 'place', 'name'), some_cells())
def test_each_part_trains_on_some_head(head, place, name):
    check_cell(head, place, name)


@pytest.mark.parametrize('seed', range(6))
def test_some_detectors_of_drawn_parts_train(seed):
    check_cross(seed)


@pytest.mark.slow
@pytest.mark.parametrize(('head', 'place', 'name'), ALL)
def test_every_part_trains_on_every_head(head, place, name):
    check_cell(head, place, name)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(100, 280))
def test_detectors_of_drawn_parts_train(seed):
    check_cross(seed)


def test_the_grid_holds_every_registered_part():
    assert len(CHOICES['assigner']) >= 21 and len(CHOICES['sampler']) >= 5
    for names in (CHOICES['assigner'], CHOICES['sampler'], CHOICES['loss_cls'], BOX_LOSSES):
        tried = {name for _, _, name in some_cells()}
        assert set(names) <= tried
    assert {head for head, _, _ in some_cells()} == set(HEADS)
