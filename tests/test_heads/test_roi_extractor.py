"""Regions pooled from the level of their size."""

import pytest
import torch

from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS


def extractor(**roi_layer):
    layer = dict(type='RoIAlign', output_size=2, **roi_layer)
    return MODELS.build(
        dict(
            type='SingleRoIExtractor',
            roi_layer=layer,
            out_channels=1,
            featmap_strides=[4, 8],
            finest_scale=16,
        )
    )


def test_each_region_reads_its_own_level_in_the_order_given():
    feats = [torch.full((1, 1, 16, 16), 1.0), torch.full((1, 1, 8, 8), 2.0)]
    rois = torch.tensor([[0.0, 0, 0, 40, 40], [0, 8, 8, 24, 24], [0, 0, 0, 64, 64]])
    pooled = extractor()(feats, rois)
    assert pooled.shape == (3, 1, 2, 2)
    assert torch.allclose(pooled, torch.tensor([2.0, 1, 2])[:, None, None, None])


def test_a_bin_is_the_mean_of_its_cells():
    """Columns of a ramp at stride 4: the centres of columns 0 and 1, 2 and 3."""
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    pooled = extractor()([ramp, ramp], torch.tensor([[0.0, 0, 0, 16, 16]]))
    assert torch.allclose(pooled[0, 0], torch.tensor([0.5, 2.5]))


def test_what_is_refused():
    with pytest.raises(ConfigError, match='featmap_strides: 2 levels, but the neck gives 1'):
        extractor()([torch.zeros(1, 1, 4, 4)], torch.zeros(0, 5))
    with pytest.raises(ConfigError, match="pool_mode: only 'avg' is here, got 'max'"):
        extractor(pool_mode='max')
