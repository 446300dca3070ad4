"""What must not depend on the device; only with a GPU at hand."""

import pytest
import torch

from registry_losses.coders import DeltaXYWHBBoxCoder, YOLOV5BBoxCoder
from registry_losses.ops import batched_nms, bbox_overlaps
from registry_losses.priors import AnchorGenerator
from registry_losses.samplers import HardNegativeSampler, OHEMSampler, RandomSampler
from registry_losses.structures import Assignment, GroundTruth, Priors

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


def boxes(n, seed=0):
    low = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)) * 300
    return torch.cat((low, low + 20 + low.flip(0) / 4), dim=1)


@pytest.mark.parametrize(
    'sampler', [RandomSampler(32, 0.5), OHEMSampler(32, 0.5), HardNegativeSampler()]
)
def test_samplers_choose_alike(sampler):
    n, m = 500, 5
    image = torch.arange(60) % 3
    prior = torch.arange(60) * 7
    loss = (torch.rand(3, n) * 50).round() / 50  # with ties

    def run(device):
        nothing = torch.zeros(3, n, dtype=torch.bool, device=device)
        pairs = Assignment(
            image.to(device), prior.to(device), (prior % m).to(device), nothing, one_to_one=True
        )
        truth = GroundTruth.from_lists([boxes(m)] * 3, [torch.zeros(m)] * 3, [(400, 400)] * 3,
                                       device=device)  # fmt: skip
        priors = Priors(boxes(n).to(device), torch.ones(n, 2, device=device))
        return sampler(pairs, priors, truth, row_loss=loss.to(device), step=9)

    here, there = run('cpu'), run('cuda')
    assert torch.equal(here.prior, there.prior.cpu())
    assert torch.equal(here.ignored, there.ignored.cpu())


def test_nms_keeps_alike():
    many, scores = boxes(900), torch.rand(900)
    groups = torch.arange(900) % 4
    here = batched_nms(many, scores, groups, 0.5)
    there = batched_nms(many.cuda(), scores.cuda(), groups.cuda(), 0.5, backend='torch')
    assert torch.equal(here, there.cpu())


def test_priors_coders_and_overlaps_agree_without_a_wait():
    generator = AnchorGenerator([8, 16], [0.5, 1.0], [4])
    sizes = [(20, 20), (10, 10)]
    here, there = generator(sizes), generator(sizes, device='cuda')
    assert torch.equal(here.boxes, there.boxes.cpu())
    gts = boxes(here.num_priors)
    on_gpu = gts.cuda()
    for coder in (DeltaXYWHBBoxCoder(), YOLOV5BBoxCoder()):
        coder.decode(there.boxes, coder.encode(there.boxes, on_gpu, stride=8.0), stride=8.0)
        torch.cuda.set_sync_debug_mode('error')
        try:
            encoded = coder.encode(there.boxes, on_gpu, stride=8.0)
            coder.decode(there.boxes, encoded, stride=8.0)
            bbox_overlaps(there.boxes, on_gpu, 'ciou', is_aligned=True)
        finally:
            torch.cuda.set_sync_debug_mode('default')
        torch.testing.assert_close(encoded.cpu(), coder.encode(here.boxes, gts, stride=8.0))
