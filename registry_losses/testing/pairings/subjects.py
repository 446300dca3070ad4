"""The head of a detector that a pairing changes, whichever kind of detector it is.

Shapes: B images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...heads import LossInputs
from ...structures import GroundTruth
from .scenes import BOXES, PERSONS, Scene, Scenes


@dataclass(frozen=True)
class Subject:
    """A detector and the one of its heads that is looked at.

    Args:
        model: The detector.
        attribute: The head's name in it.
    """

    model: Any
    attribute: str = 'bbox_head'

    @classmethod
    def of(cls, model: Any, attribute: str | None = None) -> Subject:
        """By the name of the head; the only head of a detector needs none."""
        if attribute is None:
            attribute = 'bbox_head' if hasattr(model, 'bbox_head') else 'roi_head'
        return cls(model, attribute)

    @property
    def head(self) -> Any:
        """The head."""
        return getattr(self.model, self.attribute)

    @property
    def holder(self) -> Any:
        """What holds the losses as attributes: the head, or the layers of a RoI head."""
        return getattr(self.head, 'bbox_head', self.head)

    @property
    def scenes(self) -> Scenes:
        """Persons for heads that find joints, boxes for the others."""
        return PERSONS if hasattr(self.head, 'skeleton') else BOXES

    def losses(self, scene: Scene) -> dict[str, Tensor]:
        """The training losses of the whole detector."""
        found = scene.losses(self.model)
        return {name: value for name, value in found.items() if 'loss' in name}

    def names(self, terms: Mapping[str, Tensor]) -> list[str]:
        """What the detector calls the losses of this head."""
        rpn = self.attribute == 'rpn_head'
        return [name.replace('loss', 'loss_rpn', 1) if rpn else name for name in terms]

    def loss_inputs(self, scene: Scene) -> LossInputs:
        """What the losses of the head read, its outputs part of a graph."""
        model, head = self.model, self.head
        ids = [sample.img_id for sample in scene.samples]
        with torch.no_grad():
            feats = model.extract_feat(scene.inputs)
        if self.attribute == 'roi_head':
            return model.loss_stages(feats, scene.samples, whole=True)[1].inputs
        with torch.no_grad():
            maps = getattr(head, 'raw_maps', head)(feats)
        maps = [[m.requires_grad_() for m in level_maps] for level_maps in maps]
        of_samples = getattr(head, 'ground_truth', GroundTruth.from_data_samples)
        return head.loss_inputs(maps, of_samples(scene.samples), image_ids=ids)

    def inputs_at(self, scene: Scene, last: LossInputs) -> LossInputs:
        """The outputs of this detector's head for the priors and targets of another step."""
        if self.attribute == 'roi_head':  # whose proposals move from step to step
            feats = self.model.extract_feat(scene.inputs)
            return replace(last, output=self.head(feats, last.priors), _cache={})
        found = self.loss_inputs(scene)
        return replace(found, assignment=last.assignment, _cache={})
