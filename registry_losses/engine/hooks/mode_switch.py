"""The last epochs of YOLOX and RTMDet: plain images, and L1 besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from ...errors import ConfigError
from ...registry import HOOKS


@HOOKS.register_module()
class YOLOXModeSwitchHook(Hook):
    """For the last epochs, drops strong augmentations and adds the head's L1 loss.

    Mosaics and mixed images are no natural images; the last epochs learn from the latter
    (Ge et al., YOLOX, arXiv:2107.08430, section 2.1).

    Args:
        num_last_epochs: How many epochs; runs of steps (``IterBasedTrainLoop``) have none.
        skip_type_keys: Transforms that are left out then.

    Raises:
        ConfigError: If ``num_last_epochs`` is not at least 1, or the pipeline has none of
            the transforms.
    """

    def __init__(
        self,
        num_last_epochs: int = 15,
        skip_type_keys: Sequence[str] = (
            'Mosaic',
            'RandomAffine',
            'MixUp',
            'CachedMosaic',
            'CachedMixUp',
        ),
    ) -> None:
        if num_last_epochs < 1:
            raise ConfigError(
                f'YOLOXModeSwitchHook.num_last_epochs: expected at least 1, got {num_last_epochs}'
            )
        self.num_last_epochs = num_last_epochs
        self.skip_type_keys = tuple(skip_type_keys)
        self._switched = False

    def before_train_epoch(self, runner: Any) -> None:
        """Switch where the last epochs begin; a run that resumes among them, at once."""
        if self._switched or runner.epoch < runner.max_epochs - self.num_last_epochs:
            return
        self._switched = True
        self._drop_transforms(runner.train_dataloader)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if hasattr(model.bbox_head, 'use_l1') and model.bbox_head.loss_l1 is not None:
            model.bbox_head.use_l1 = True
        print_log(
            f'Without {", ".join(self.skip_type_keys)} for the last {self.num_last_epochs} epochs',
            logger='current',
        )

    def _drop_transforms(self, dataloader: Any) -> None:
        dataset = dataloader.dataset
        while not hasattr(dataset, 'pipeline'):
            dataset = dataset.dataset
        transforms = dataset.pipeline.transforms
        kept = [t for t in transforms if type(t).__name__ not in self.skip_type_keys]
        if len(kept) == len(transforms):
            raise ConfigError(
                'YOLOXModeSwitchHook.skip_type_keys: the training pipeline has none of '
                + ', '.join(self.skip_type_keys)
            )
        dataset.pipeline.transforms = kept
        # Workers that outlive an epoch hold a copy of the data set: they start anew.
        if getattr(dataloader, 'persistent_workers', False):
            dataloader._iterator = None
