"""Pictures of predictions beside the ground truth."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from ...registry import HOOKS


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draws the predictions of a test beside the ground truth, one file an image.

    Args:
        out_dir: Folder of the pictures; a relative one is below the run's log folder.
        score_thr: Predictions below it are left out.
    """

    def __init__(self, out_dir: str = 'pictures', score_thr: float = 0.3) -> None:
        self.out_dir = out_dir
        self.score_thr = score_thr

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the images of a batch."""
