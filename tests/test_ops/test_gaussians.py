import numpy as np
import pytest
import torch

from registry_losses.ops import gaussian_radius, gaussian_values, iou


@pytest.mark.parametrize('overlap', [0.3, 0.5, 0.7])
def test_radius_is_the_least_shift_that_brings_the_iou_down_to_the_overlap(overlap):
    rng = np.random.default_rng(0)
    for height, width in rng.uniform(2, 60, (40, 2)):
        radius = gaussian_radius(torch.tensor(height), torch.tensor(width), overlap).item()
        box = torch.tensor([0.0, 0, width, height], dtype=torch.double)
        r = radius
        moves = torch.tensor([[r, r, r, r], [r, r, -r, -r], [-r, -r, r, r]], dtype=torch.double)
        overlaps = iou(box, box + moves)
        assert overlaps.min().item() == pytest.approx(overlap, abs=1e-4)


def test_published_radii():
    # h = w = 2, o = 0.5: half = 4, area 4, free 2.
    size = torch.tensor(2.0)
    roots = (16 - 8 / 1.5) ** 0.5, (64 - 32) ** 0.5, (16 + 16) ** 0.5
    wanted = min((4 + roots[0]) / 2, (8 + roots[1]) / 2, (roots[2] - 4) / 2)
    got = gaussian_radius(size, size, 0.5, corrected=False).item()
    assert got == pytest.approx(wanted, rel=1e-6)
    right = min((4 - roots[0]) / 2, (8 - roots[1]) / 8, (roots[2] - 4) / 4)
    assert gaussian_radius(size, size, 0.5).item() == pytest.approx(right, rel=1e-6)


def test_radius_of_degenerate_boxes_is_zero_and_shapes_are_kept():
    heights = torch.tensor([[0.0, 5.0, -2.0], [1e-12, 3.0, 3.0]])
    radius = gaussian_radius(heights, torch.tensor([[4.0, 0.0, 7.0], [1e-12, 3.0, 30.0]]))
    assert radius.shape == (2, 3)
    assert radius[0].tolist() == [0, 0, 0]
    assert torch.isfinite(radius).all()
    assert (radius[1, 1:] > 0).all()


def test_values():
    dx = torch.tensor([0, 1, 2])
    got = gaussian_values(dx, torch.tensor([[0], [1]]), 2.0)
    wanted = [[np.exp(-(x * x + y * y) / 8) for x in range(3)] for y in range(2)]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
