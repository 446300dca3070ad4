"""AE's head: which maps each resolution has, and how its losses count."""

import pytest
import torch

from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS


def ae(**options):
    return MODELS.build(dict(type='AEHead', skeleton='coco_17', in_channels=2, **options))


def test_heatmaps_at_every_resolution_and_tags_at_the_first():
    two = ae(tag_dim=2, prior_generator=dict(type='MlvlPointGenerator', strides=[4, 2]))
    assert [layer.out_channels for layer in two.final_layer] == [17 + 2 * 17, 17]
    heat, tags = two([torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 8, 8)])
    assert [m.shape[-1] for m in heat] == [4, 8]
    assert [tuple(m.shape[1:]) for m in tags if m is not None] == [(34, 4, 4)]


def test_one_resolution_has_the_names_of_published_weights():
    assert set(ae().state_dict()) == {'final_layer.weight', 'final_layer.bias'}


def test_a_mean_over_cells_and_a_sum_over_images():
    heat, tags = ae().loss_terms
    assert (heat.name, heat.normalizer) == ('loss_heatmap', 'elements')
    assert (tags.name, tags.normalizer) == ('loss_embedding', 'none')
    assert (heat.loss.loss_weight, tags.loss.loss_weight) == (0.999, 0.001)


def test_channels_for_each_resolution():
    strides = dict(type='MlvlPointGenerator', strides=[4, 2])
    with pytest.raises(ConfigError, match='in_channels for each of 2 strides'):
        MODELS.build(dict(type='AEHead', in_channels=[2], prior_generator=strides))
