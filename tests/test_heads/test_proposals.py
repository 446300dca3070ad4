"""Proposals as priors: their level, gts among them, the choice of some."""

import torch
from mmengine.structures import InstanceData

from registry_losses.heads import Proposals
from registry_losses.heads.proposals import chosen_priors, proposal_priors, roi_levels, with_gts
from registry_losses.structures import Assignment, GroundTruth, Priors, SoftEntries


def test_level_of_a_region_by_its_side():
    sides = torch.tensor([0.0, 31.9, 32.1, 63.9, 64.1, 4000.0])
    boxes = torch.stack((sides * 0, sides * 0, sides, sides), dim=1)
    assert roi_levels(boxes, 3, 16).tolist() == [0, 0, 1, 1, 2, 2]
    assert roi_levels(boxes.flip(1), 3, 16).tolist() == [0] * 6  # turned inside out


def test_proposals_are_priors_without_a_grid():
    boxes = [torch.tensor([[0.0, 0, 10, 10], [0, 0, 50, 50]]), torch.zeros(0, 4)]
    proposals = Proposals.of([InstanceData(bboxes=each) for each in boxes])
    priors = proposal_priors(proposals, [4, 8], 16)
    assert priors.levels == () and priors.boxes.shape == (2, 2, 4)
    assert priors.valid.tolist() == [[True, True], [False, False]]
    assert priors.strides[0].tolist() == [[4, 4], [8, 8]]
    assert priors.level_sizes == (2,)
    gt = GroundTruth.from_lists(
        [torch.tensor([[1.0, 1, 5, 5]])] * 2, [torch.zeros(1).long()] * 2, [(64, 64)] * 2
    )
    both = with_gts(proposals, gt)
    assert both.valid.tolist() == [[True, True, True], [True, False, False]]
    assert both.boxes[1, 0].tolist() == [1, 1, 5, 5]


def test_chosen_priors_keep_every_pair_and_nothing_ignored():
    boxes = torch.arange(2 * 5 * 4.0).reshape(2, 5, 4)
    priors = Priors(boxes, torch.ones(2, 5, 2))
    ignored = torch.tensor([[1, 0, 1, 0, 0], [1, 1, 1, 0, 1]]).bool()
    pairs = Assignment(
        image=torch.tensor([0, 1]),
        prior=torch.tensor([3, 3]),
        gt=torch.tensor([1, 0]),
        ignored=ignored,
        soft=SoftEntries(*(torch.tensor([v]) for v in (0, 4, 2)), torch.tensor([0.5])),
    )
    fewer, mapped = chosen_priors(priors, pairs)
    assert fewer.boxes.shape == (2, 3, 4)
    assert torch.equal(fewer.boxes[0], boxes[0, [1, 3, 4]])
    assert torch.equal(fewer.boxes_at(mapped.image, mapped.prior), boxes[[0, 1], [3, 3]])
    assert mapped.ignored.tolist() == [[False] * 3, [False, True, True]]
    assert torch.equal(fewer.boxes[0, mapped.soft.prior[0]], boxes[0, 4])
