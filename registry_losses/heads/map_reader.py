"""MapReader: what a dense head's raw maps say, and the detections in them.

Shapes: B images, N priors, C classes, L levels.
"""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from ..losses.declared import declared
from ..ops import clip_boxes
from ..structures import DetDataSample, HeadOutput, Predictions, Priors, flatten_maps
from .prediction import rescale_instances, suppress, top_candidates

Maps = Sequence[Sequence[Tensor]]


class MapReader(BaseModule):
    """The reading half of a dense head: flatten, score, decode, choose, suppress.

    It reads the attributes that :class:`~registry_losses.heads.DenseHead` sets:
    ``prior_generator``, ``bbox_coder``, ``loss_cls``, ``loss_terms``, ``num_classes``,
    ``cls_out_channels``, ``train_cfg`` and ``test_cfg``.
    """

    map_names: tuple[str, ...] = ('cls', 'bbox')
    """The maps of ``forward``, in order."""
    score_factor: str | None = None
    """Branch whose probability multiplies the class scores."""
    num_bins: int = 0
    """Bins of each side where boxes are distributions; 0 where they are numbers."""
    clip_after_nms: bool = False
    """Whether boxes are clipped to the image only when they are chosen (YOLOv5)."""

    @property
    def class_activation(self) -> str:
        """What turns class outputs into probabilities, as their loss declares."""
        return declared(self.loss_cls).class_activation

    @property
    def num_levels(self) -> int:
        """Feature maps that the head predicts on."""
        return self.prior_generator.num_levels

    @property
    def objectness_channels(self) -> int:
        """Values of a prior's objectness: 1, or with a softmax loss 2 (object, background)."""
        return 1

    def map_channels(self) -> dict[str, int]:
        """Values a prior in each map."""
        return {
            'cls': self.cls_out_channels,
            'bbox': 4,
            'centerness': 1,
            'objectness': self.objectness_channels,
        }

    # Views of the raw maps ------------------------------------------------------------

    def flatten(self, maps: Maps) -> HeadOutput:
        """Raw maps to ``(B, N, D)`` branches."""
        channels = self.map_channels()
        num_base = self.prior_generator.num_base_priors
        tensors = {
            name: flatten_maps(level_maps, num_base, channels[name])
            for name, level_maps in zip(self.map_names, maps)
        }
        return HeadOutput.of(tensors, self._level_sizes(maps[0]))

    def _level_sizes(self, maps: Sequence[Tensor]) -> tuple[int, ...]:
        base = self.prior_generator.num_base_priors
        base = [base] * len(maps) if isinstance(base, int) else base
        return tuple(m.shape[-2] * m.shape[-1] * a for m, a in zip(maps, base))

    def priors(
        self, maps: Maps, pads: Tensor | None = None, contents: Tensor | None = None
    ) -> Priors:
        """The priors of these maps.

        Args:
            maps: The raw maps.
            pads: ``(B, 2)`` height and width of each image with its padding; cells beyond
                are not valid.
            contents: ``(B, 2)`` of each image without it, from which ``allowed_border``
                counts.
        """
        sizes = [tuple(m.shape[-2:]) for m in maps[0]]
        border = self.train_cfg.get('allowed_border', -1) if self.training else -1
        return self.prior_generator(
            sizes,
            device=maps[0][0].device,
            image_sizes=pads,
            allowed_border=None if contents is None else border,
            border_sizes=contents,
        )

    def predictions(self, output: HeadOutput, priors: Priors) -> Predictions:
        """Decoded boxes and scores of every prior, detached, float32."""
        scores = self.prior_scores(output, priors)
        if self.score_factor is not None:
            scores = scores * self.factors(output)[..., None]
        return Predictions(boxes=self.decode(output, priors), scores=scores.detach())

    def scores(self, output: HeadOutput) -> Tensor:
        """``(B, rows, C)`` class probabilities, background removed."""
        return probabilities(output['cls'].detach(), self.loss_cls)[..., : self.num_classes]

    def prior_scores(self, output: HeadOutput, priors: Priors) -> Tensor:
        """``(B, N, C)``: :meth:`scores`, repeated where priors share a class vector."""
        scores = self.scores(output)
        return scores if priors.class_row is None else scores[:, priors.class_row]

    def factors(self, output: HeadOutput) -> Tensor:
        """``(B, N)`` what :attr:`score_factor` contributes to the scores, in [0, 1]."""
        assert self.score_factor is not None, 'only heads with a score factor ask for it'
        terms = [term for term in self.loss_terms if term.branch == self.score_factor]
        loss = terms[0].loss if terms else None
        return probabilities(output[self.score_factor].detach(), loss)[..., 0]

    def decode(self, output: HeadOutput, priors: Priors) -> Tensor:
        """``(B, N, 4)`` predicted boxes, detached; the priors' boxes for heads without boxes."""
        if self.bbox_coder is None or 'bbox' not in output:
            return priors.boxes.expand(output.batch_size, -1, -1)
        centers = self.bbox_coder.reference == 'centers'
        reference = priors.centers if centers else priors.boxes
        encoded = self.bbox_coder.activate(output['bbox'].detach().float())
        return self.bbox_coder.decode(reference, encoded, stride=priors.strides)

    # Prediction -----------------------------------------------------------------------

    def predict(
        self,
        feats: Sequence[Tensor],
        batch_data_samples: Sequence[DetDataSample],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Detections of a batch."""
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.predict_by_feat(*self(feats), batch_img_metas=metas, rescale=rescale)

    @torch.no_grad()
    def predict_by_feat(
        self,
        *maps: Sequence[Tensor],
        batch_img_metas: Sequence[Mapping],
        cfg: Mapping | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Detections from raw maps: per level top-k, decode, NMS.

        Args:
            *maps: As :meth:`forward` returns them.
            batch_img_metas: B dicts with ``img_shape`` and, to rescale, ``scale_factor``.
            cfg: In place of ``test_cfg``.
            rescale: Give boxes in pixels of the original image.
            with_nms: False keeps every candidate.
        """
        cfg = self.test_cfg if cfg is None else cfg
        output, priors = self.flatten(maps), self.priors(maps)
        shapes = priors.boxes.new_tensor([meta['img_shape'][:2] for meta in batch_img_metas])
        boxes, scores, labels = self.candidates(output, priors, shapes, cfg)
        results = suppress(
            boxes,
            scores,
            labels,
            nms=cfg.get('nms') if with_nms else None,
            max_per_img=cfg.get('max_per_img', 100) if with_nms else -1,
            min_bbox_size=cfg.get('min_bbox_size', -1),
        )
        if rescale:
            rescale_instances(results, batch_img_metas)
        if self.clip_after_nms:
            for instances, meta in zip(results, batch_img_metas):
                limit = meta.get('ori_shape') if rescale else None
                limit = (limit or meta['img_shape'])[:2]
                instances.bboxes = clip_boxes(instances.bboxes, limit)
        return results

    def candidates(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor, cfg: Mapping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best priors of each level, decoded and clipped.

        Returns:
            boxes ``(B, k, 4)``, scores ``(B, k)`` (negative: empty), labels ``(B, k)``.
        """
        boxes, scores, labels = [], [], []
        all_scores = self.prior_scores(output, priors)
        factors = None if self.score_factor is None else self.factors(output)
        for start, size in zip(priors.level_starts, priors.level_sizes):
            level = slice(start, start + size)
            best = top_candidates(
                all_scores[:, level],
                score_thr=cfg.get('score_thr', 0.05),
                limit=cfg.get('nms_pre', -1),
            )
            prior_index = best.prior_index + start
            score = best.scores
            if factors is not None:
                score = torch.where(score < 0, score, score * factors.gather(1, prior_index))
            boxes.append(self.decode_at(output, priors, prior_index, image_shapes))
            scores.append(score)
            labels.append(best.labels)
        return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1)

    def decode_at(
        self, output: HeadOutput, priors: Priors, prior_index: Tensor, image_shapes: Tensor | None
    ) -> Tensor:
        """``(B, k, 4)`` predicted boxes of chosen priors ``(B, k)``, clipped to the images.

        Not clipped with :attr:`clip_after_nms`.
        """
        coder = self.bbox_coder
        reference = priors.centers if coder.reference == 'centers' else priors.boxes
        raw = output['bbox'].float()
        raw = raw.gather(1, prior_index[..., None].expand(-1, -1, raw.shape[-1]))
        encoded = coder.activate(raw)
        max_shape = None if self.clip_after_nms else image_shapes
        return coder.decode(
            reference[prior_index], encoded, max_shape=max_shape, stride=priors.strides[prior_index]
        )


def num_outputs(num_classes: int, loss) -> int:
    """Outputs of a branch: C, and one for the background where its loss has a softmax."""
    return num_classes + int(declared(loss).needs_background)


def probabilities(logits: Tensor, loss) -> Tensor:
    """Raw outputs to [0, 1], by the activation that their loss declares.

    Args:
        logits: ``(..., C)``.
        loss: Its ``activation`` is ``'sigmoid'`` (also where it declares none),
            ``'softmax'`` over the last dimension, or ``'identity'``.
    """
    activation = declared(loss).class_activation
    if activation == 'softmax':
        return logits.float().softmax(dim=-1)
    return logits.float().sigmoid() if activation == 'sigmoid' else logits.float().clamp(0, 1)
