"""Overlaps with predicted boxes, found by the bounds of runs of priors."""

import torch

from registry_losses.assigners.candidates.predicted_overlaps import overlapping_blocks
from registry_losses.ops import bbox_overlaps

from . import scenes


def test_blocks_hold_every_overlap(monkeypatch):
    """Boxes far from their priors cost more, but are not missed; small blocks change nothing."""
    from registry_losses.assigners.candidates import predicted_overlaps as overlapping

    g = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 100, 2, generator=g) * 60
    boxes = torch.cat((corner, corner + torch.rand(2, 100, 2, generator=g) * 9), dim=-1)
    gt = scenes.random_gt(5, 2)
    allowed = torch.rand(2, 100, generator=g) < 0.8
    expected = bbox_overlaps(boxes, gt.boxes) * allowed[..., None] * gt.valid[:, None]
    for most in (1, 10**6):
        monkeypatch.setattr(overlapping, 'block_elements', lambda device, most=most: most)
        found = torch.zeros(2, 112, gt.max_gts)
        for block in overlapping_blocks(boxes, gt, allowed):
            row = block.row
            prior_index = block.first_prior[:, None] + torch.arange(overlapping.RUN_LENGTH)
            found[block.image[row][:, None], prior_index, block.gt[row][:, None]] = block.overlaps
        assert torch.equal(found[:, :100], expected)
        assert not found[:, 100:].any()
