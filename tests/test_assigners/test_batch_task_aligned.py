"""BatchTaskAlignedAssigner: what differs from task alignment, by hand."""

import torch

from registry_losses.assigners import BatchTaskAlignedAssigner, TaskAlignedAssigner

from . import judge, scenes


def test_the_best_are_chosen_among_the_priors_inside():
    """A prior outside the gt predicts it exactly; the one inside has half of it."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(16, 16, 24, 24)]], 40)  # holds the centre of prior 12 alone
    boxes = torch.tensor([0.0, 0, 1, 1]).repeat(25, 1)
    boxes[0] = gt.boxes[0, 0]
    boxes[12] = torch.tensor([16.0, 16, 24, 20])
    predictions = judge.predict(boxes, torch.full((25, scenes.CLASSES), 0.5))
    found = BatchTaskAlignedAssigner(topk=1)(priors, gt, predictions)
    assert found.prior.tolist() == [12]
    # The best alignment of a gt becomes its best IoU.
    torch.testing.assert_close(found.quality, torch.tensor([0.5]))
    assert TaskAlignedAssigner(topk=1)(priors, gt, predictions).num_pairs == 0
