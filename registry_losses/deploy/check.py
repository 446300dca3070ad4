"""Whether an exported detector finds what PyTorch finds.

Shapes: B images of height H and width W, n detections of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import MissingDependencyError
from .graph import InferenceGraph, require_exportable


@dataclass(frozen=True)
class Comparison:
    """What two runtimes make of the same images.

    Attributes:
        images: B.
        boxes: Boxes that PyTorch gives.
        matched: Those of which the other gives the same label, score and corners.
        extra: Boxes that the other gives beside them.
        corner: Largest difference of a corner of matched boxes, in pixels.
        score: Largest difference of their scores.
    """

    images: int
    boxes: int
    matched: int
    extra: int
    corner: float
    score: float

    @property
    def agrees(self) -> bool:
        """Whether 99 of 100 boxes match: scores and overlaps at a threshold may fall either way."""
        return max(self.boxes - self.matched, self.extra) <= 0.01 * max(self.boxes, self.matched)

    def __str__(self) -> str:
        """For the user."""
        return (
            f'{self.matched} of {self.boxes} boxes of {self.images} images are the same in '
            f'onnxruntime (corners to {self.corner:.1e} pixels, scores to {self.score:.1e})'
            + (f'; it gives {self.extra} more' if self.extra else '')
        )


def compare_outputs(
    model: nn.Module,
    path: str | Path,
    images: Tensor,
    *,
    nms: bool = True,
    corner: float = 0.05,
    score: float = 1e-3,
) -> Comparison:
    """Run a model in PyTorch and its file in onnxruntime, on the CPU.

    Args:
        model: The detector that was exported.
        path: The ONNX file.
        images: ``(B, 3, H, W)`` float32 in [0, 255].
        nms: Whether the file was exported with NMS.
        corner: Pixels that a corner of the same box may differ by.
        score: What its score may differ by.

    Raises:
        MissingDependencyError: If onnxruntime is not installed.
    """
    model = require_exportable(model)
    was_training, device = model.training, next(model.parameters()).device
    model.cpu().eval()
    try:
        wanted = _by_pytorch(model, images, nms)
    finally:
        model.to(device).train(was_training)
    # One image, then the others together: the batch is free.
    parts = [images[:1], images[1:]] if len(images) > 1 else [images]
    session = _session(path)
    found = [rows for part in parts for rows in _by_onnx(session, part, nms)]
    counts = [_match(a, b, corner, score) for a, b in zip(wanted, found, strict=True)]
    matched = sum(c[0] for c in counts)
    return Comparison(
        images=len(images),
        boxes=sum(len(a[1]) for a in wanted),
        matched=matched,
        extra=sum(len(b[1]) for b in found) - matched,
        corner=max((c[1] for c in counts), default=0.0),
        score=max((c[2] for c in counts), default=0.0),
    )


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (n, 4), scores (n,), labels (n,)


def _by_pytorch(model: Any, images: Tensor, nms: bool) -> list[Rows]:
    """By the detector's own prediction, not by the graph that was exported."""
    size = tuple(images.shape[-2:])
    with torch.no_grad():
        if not nms:
            graph = InferenceGraph(model, (size[1], size[0]), dense=True)
            return [_rows(b, s) for b, s in zip(*graph(images))]
        normalise = getattr(model.data_preprocessor, 'normalise', None)
        feats = model.extract_feat(images if normalise is None else normalise(images))
        metas = [dict(img_shape=size, ori_shape=size)] * len(images)
        results = model.bbox_head.predict_by_feat(*model.bbox_head(feats), batch_img_metas=metas)
    return [(r.bboxes.numpy(), r.scores.numpy(), r.labels.numpy()) for r in results]


def _rows(boxes: Any, scores: Any) -> Rows:
    """Every prior's best class."""
    scores = np.asarray(scores)
    return np.asarray(boxes), scores.max(-1), scores.argmax(-1)


def _session(path: str | Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "comparing the exported model needs onnxruntime: pip install 'registry_losses[export]'"
            ' (or pip install onnxruntime), or --no-check'
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


def _by_onnx(session: Any, images: Tensor, nms: bool) -> list[Rows]:
    outputs = session.run(None, {'images': images.numpy()})
    if not nms:
        return [_rows(b, s) for b, s in zip(*outputs)]
    return [(b[labels >= 0], s[labels >= 0], labels[labels >= 0]) for b, s, labels in zip(*outputs)]


def _match(wanted: Rows, found: Rows, corner: float, score: float) -> tuple[int, float, float]:
    """How many boxes have a twin of their own, and the largest differences between twins."""
    free = np.ones(len(found[1]), bool)
    matched, far, apart = 0, 0.0, 0.0
    for box, value, label in zip(*wanted):
        near = free & (found[2] == label) & (np.abs(found[1] - value) <= score)
        index = near.nonzero()[0]
        if not len(index):
            continue
        distance = np.abs(found[0][index] - box).max(1)
        best = index[distance.argmin()]
        if distance.min() > corner:
            continue
        free[best] = False
        matched += 1
        far, apart = max(far, float(distance.min())), max(apart, abs(float(found[1][best] - value)))
    return matched, far, apart
