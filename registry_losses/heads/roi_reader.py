"""RoIReader: what the outputs of a RoI head say, to its losses, its assigner and its users.

Girshick, "Fast R-CNN", ICCV 2015.

Shapes: B images, S regions an image, K pairs, C classes, D values a region.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..losses.declared import probabilities
from ..structures import Assignment, HeadOutput, Predictions, Priors
from .prediction import rescale_instances, suppress, top_candidates
from .terms.loss_inputs import LossInputs


@dataclass(frozen=True, eq=False)
class RoIInputs(LossInputs):
    """The step of a head that may predict a box for each class.

    Args:
        class_boxes: Whether the values of branch ``bbox`` are those of C boxes; a pair
            then compares the box of its gt's class.
    """

    class_boxes: bool = False

    def pred_at(self, branch: str, pairs: Assignment) -> tuple[Tensor, Tensor | None]:
        """``(K, D)`` raw outputs at the pairs, and which exist (None: all)."""
        raw, present = super().pred_at(branch, pairs)
        if branch != 'bbox' or not self.class_boxes:
            return raw, present

        def own_class() -> Tensor:
            by_class = raw.unflatten(-1, (self.num_classes, -1))  # (K, C, D / C)
            return by_class[torch.arange(len(raw), device=raw.device), pairs.labels_of(self.gt)]

        return self.once(('own class', branch, id(pairs)), own_class), present


@dataclass(frozen=True, eq=False)
class RoIReader:
    """The part of a RoI head that reads its outputs: scores, boxes, detections.

    Args:
        num_classes: C, without background.
        class_boxes: Whether each class has a box of its own.
        coder: Between proposals and boxes.
        class_loss: Its activation turns class outputs into probabilities.
    """

    num_classes: int
    class_boxes: bool
    coder: Any
    class_loss: Any

    def predictions(self, output: HeadOutput, priors: Priors) -> Predictions:
        """Scores, and the box of the best class, of every region; detached, float32."""
        scores = self.scores(output)
        boxes = self.decode(output, priors)
        if self.class_boxes:
            best = scores.argmax(dim=-1, keepdim=True)[..., None].expand(-1, -1, -1, 4)
            boxes = boxes.gather(2, best)
        return Predictions(boxes=boxes.squeeze(2), scores=scores)

    def scores(self, output: HeadOutput) -> Tensor:
        """``(B, S, C)`` class probabilities, background removed, detached."""
        logits = output['cls'].detach()
        return probabilities(logits, self.class_loss)[..., : self.num_classes]

    def decode(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor | None = None
    ) -> Tensor:
        """``(B, S, C or 1, 4)`` predicted boxes, detached."""
        codes = output['bbox'].detach().float()
        codes = codes.unflatten(-1, (self.num_classes if self.class_boxes else 1, -1))
        codes = self.coder.activate(codes)
        shape = codes.shape
        # One row a class: a coder measures each box from one reference.
        centers = self.coder.reference == 'centers'
        reference = priors.centers if centers else priors.boxes
        reference, strides = (
            each[..., None, :].expand(*shape[:3], each.shape[-1]).flatten(1, 2)
            for each in (reference, priors.strides)
        )
        boxes = self.coder.decode(
            reference, codes.flatten(1, 2), max_shape=image_shapes, stride=strides
        )
        return boxes.reshape(*shape[:3], 4)

    @torch.no_grad()
    def detect(
        self,
        output: HeadOutput,
        priors: Priors,
        metas: Sequence[Mapping],
        *,
        cfg: Mapping,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of a batch, see :meth:`RoIHead.predict`."""
        scores = self.scores(output)
        if priors.valid is not None:
            scores = torch.where(priors.valid[..., None], scores, -1.0)
        shapes = scores.new_tensor([tuple(meta['img_shape'][:2]) for meta in metas])
        boxes = self.decode(output, priors, shapes)
        best = top_candidates(
            scores, score_thr=cfg.get('score_thr', 0.05), limit=cfg.get('nms_pre', -1)
        )
        column = best.labels if self.class_boxes else torch.zeros_like(best.labels)
        place = (best.prior_index * boxes.shape[2] + column)[..., None].expand(-1, -1, 4)
        results = suppress(
            boxes.flatten(1, 2).gather(1, place),
            best.scores,
            best.labels,
            nms=cfg.get('nms'),
            max_per_img=cfg.get('max_per_img', 100),
            min_bbox_size=cfg.get('min_bbox_size', -1),
        )
        if rescale:
            rescale_instances(results, metas)
        return results

    @torch.no_grad()
    def accuracy(self, inputs: LossInputs) -> Tensor:
        """Percentage of the regions in the losses whose class, or background, is recognised.

        For the log; with a sigmoid a region is background where no class reaches one half.
        """
        logits = inputs.output['cls'].detach()
        if logits.shape[-1] == self.num_classes:
            background = torch.full_like(logits[..., :1], 0.5)
            scores = probabilities(logits, self.class_loss)
            logits = torch.cat((scores, background.to(scores)), dim=-1)
        else:
            logits = logits[..., : self.num_classes + 1]
        labels = inputs.assignment.dense_labels(inputs.gt, self.num_classes)
        right = (logits.argmax(dim=-1) == labels) & ~inputs.assignment.ignored
        return 100 * right.sum() / (~inputs.assignment.ignored).sum().clamp(min=1)
