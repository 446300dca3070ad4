"""MapReader: what the raw maps of a head say.

Shapes: B images, N priors, K chosen priors, C classes, L levels.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..losses.declared import declared, probabilities
from ..structures import HeadOutput, Predictions, Priors
from .layouts import Layout, Maps


@dataclass(frozen=True, eq=False)
class MapReader:
    """The part of a head that reads its maps: flat branches, priors, scores, boxes.

    Args:
        prior_generator: Makes the priors of a map's size.
        layout: Where the branches stand in the maps.
        class_loss: Its activation turns class outputs into probabilities.
        num_classes: C, without background.
        coder: Between boxes and the branch ``bbox``; None for heads without boxes.
        factor: The branch whose probability multiplies the class scores; None for none.
        factor_loss: Its activation turns that branch into a probability.
        geometric: Assigners and samplers see the geometric mean of class score and factor
            in place of their product (YOLOX).
        activated: Whether the class maps hold probabilities already.
        certain: Whether the one class there is needs no score: no loss teaches it.
    """

    prior_generator: Any
    layout: Layout
    class_loss: Any
    num_classes: int
    coder: Any = None
    factor: str | None = None
    factor_loss: Any = None
    geometric: bool = False
    activated: bool = False
    certain: bool = False

    def flatten(self, maps: Maps) -> HeadOutput:
        """Raw maps to ``(B, N, D)`` branches."""
        base = self.prior_generator.num_base_priors
        num_base = [base] * len(maps[0]) if isinstance(base, int) else list(base)
        sizes = tuple(m.shape[-2] * m.shape[-1] * a for m, a in zip(maps[0], num_base))
        return HeadOutput.of(self.layout(maps, num_base), sizes)

    def priors(
        self,
        maps: Maps,
        *,
        pads: Tensor | None = None,
        contents: Tensor | None = None,
        allowed_border: float = -1,
    ) -> Priors:
        """The priors of these maps.

        Args:
            maps: The raw maps.
            pads: ``(B, 2)`` height and width of each image with its padding; cells beyond
                are not valid.
            contents: ``(B, 2)`` of each image without it, from which ``allowed_border``
                counts.
            allowed_border: Pixels that a prior may reach beyond its image; negative for
                any number.
        """
        sizes = [tuple(m.shape[-2:]) for m in maps[0]]
        return self.prior_generator(
            sizes,
            device=maps[0][0].device,
            image_sizes=pads,
            allowed_border=None if contents is None else allowed_border,
            border_sizes=contents,
        )

    def predictions(self, output: HeadOutput, priors: Priors) -> Predictions:
        """Decoded boxes and scores of every prior, detached, float32."""
        scores = self.ranking_scores(output, priors)
        if self.factor is not None and self.geometric:
            scores = scores.sqrt()
        return Predictions(boxes=self.boxes(output, priors), scores=scores.detach())

    def ranking_scores(self, output: HeadOutput, priors: Priors) -> Tensor:
        """``(B, N, C)``: class probabilities, times the factor where there is one."""
        scores = self.prior_scores(output, priors)
        return scores if self.factor is None else scores * self.factors(output)[..., None]

    def scores(self, output: HeadOutput) -> Tensor:
        """``(B, rows, C)`` class probabilities, background removed, detached."""
        found = output['cls'].detach()
        if self.certain:
            return torch.ones_like(found[..., :1], dtype=torch.float32)
        found = found.float() if self.activated else probabilities(found, self.class_loss)
        return found[..., : self.num_classes]

    def prior_scores(self, output: HeadOutput, priors: Priors) -> Tensor:
        """``(B, N, C)``: :meth:`scores`, repeated where priors share a class vector."""
        scores = self.scores(output)
        return scores if priors.class_row is None else scores[:, priors.class_row]

    def factors(self, output: HeadOutput) -> Tensor:
        """``(B, N)`` in [0, 1], what the branch ``factor`` contributes to the scores."""
        assert self.factor is not None, 'only heads with a score factor ask for it'
        return probabilities(output[self.factor].detach(), self.factor_loss)[..., 0]

    def boxes(self, output: HeadOutput, priors: Priors) -> Tensor:
        """``(B, N, 4)`` predicted boxes, detached; the priors' boxes for heads without boxes."""
        if self.coder is None or 'bbox' not in output:
            return priors.boxes.expand(output.batch_size, -1, -1)
        encoded = self.coder.activate(output['bbox'].detach().float())
        return self.coder.decode(self._reference(priors), encoded, stride=priors.strides)

    def boxes_at(
        self, output: HeadOutput, priors: Priors, prior_index: Tensor, *, limits: Tensor | None
    ) -> Tensor:
        """``(B, k, 4)`` predicted boxes of the chosen priors ``prior_index (B, k)``.

        Args:
            output: The flat branches.
            priors: The priors.
            prior_index: Which of the N priors.
            limits: ``(B, 2)`` height and width to clip to; None to clip nowhere.
        """
        raw = output['bbox'].float()
        raw = raw.gather(1, prior_index[..., None].expand(-1, -1, raw.shape[-1]))
        return self.coder.decode(
            self._reference(priors)[prior_index],
            self.coder.activate(raw),
            max_shape=limits,
            stride=priors.strides[prior_index],
        )

    def _reference(self, priors: Priors) -> Tensor:
        return priors.centers if self.coder.reference == 'centers' else priors.boxes


def num_outputs(num_classes: int, loss) -> int:
    """Outputs of a branch: C, and one for the background where its loss has a softmax."""
    return num_classes + int(declared(loss).needs_background)
