"""How MMPose's associative embedding is called, where it is installed.

MMPose has no OpenPose. Its loss lies in a package that imports much that is not needed here;
the one file is loaded by its place.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor


def mmpose_version() -> str | None:
    """The version that is installed; None without one that can be imported."""
    try:
        import mmpose
        import mmpose.codecs
    except Exception:  # whatever a half-fitting installation raises
        return None
    return mmpose.__version__


def mmpose_calls(
    points: Sequence[np.ndarray], size: int, cells: int, sigma: float, heat: Tensor, tags: Tensor,
    one_heat: Tensor, one_tags: Tensor,
) -> dict[str, Callable[[], Any]]:  # fmt: skip
    """What MMPose does for the rows of this benchmark, by name.

    Args:
        points: For each image ``(n, V, 2)`` in pixels.
        size: Side of the images.
        cells: Side of the maps.
        sigma: In cells.
        heat: ``(B, V, H, W)`` predicted heatmaps.
        tags: ``(B, V, H, W)`` predicted tags.
        one_heat: ``(1, V, H, W)`` true heatmaps of an image.
        one_tags: ``(1, V, H, W)`` true tags of it.
    """
    import torch
    from mmpose.codecs import AssociativeEmbedding

    codec = AssociativeEmbedding(
        input_size=(size, size), heatmap_size=(cells, cells), sigma=sigma, decode_topk=30,
        decode_max_instances=30, decode_keypoint_order=list(range(heat.shape[1])),
    )  # fmt: skip
    embedding = _embedding_loss()(loss_weight=0.001)
    visible = [np.ones(p.shape[:2], np.float32) for p in points]
    encoded = [codec.encode(p.astype(np.float32), v) for p, v in zip(points, visible)]
    target = torch.from_numpy(np.stack([e['heatmaps'] for e in encoded]))
    index = [torch.from_numpy(e['keypoint_indices']) for e in encoded]

    def loss() -> None:
        pull, push = embedding(tags, index)
        ((heat - target).square().mean() + pull + push).backward()

    return {
        'AE targets': lambda: [
            codec.encode(p.astype(np.float32), v) for p, v in zip(points, visible)
        ],
        'AE loss': loss,
        'AE decode': lambda: codec.batch_decode(one_heat, one_tags),
    }


@cache
def _embedding_loss() -> Any:
    """The class, out of its one file; loaded twice it would be registered twice."""
    import mmpose

    place = Path(mmpose.__file__).parent / 'models' / 'losses' / 'ae_loss.py'
    spec = importlib.util.spec_from_file_location('mmpose_ae_loss', place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.AssociativeEmbeddingLoss
