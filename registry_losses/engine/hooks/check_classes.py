"""Stops before the first step when model and data set disagree on the classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from ...errors import ConfigError
from ...registry import HOOKS


@HOOKS.register_module()
class CheckClassesHook(Hook):
    """Compares ``num_classes`` of every head with the classes of the data set.

    A label beyond the head's classes would otherwise surface as an index out of range
    far from its cause. The runner adds this hook by itself.
    """

    priority = 'VERY_HIGH'
    learnt: tuple[str, ...] = ()  # the classes of the checkpoint that was loaded

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Note what the checkpoint was trained on."""
        meta = checkpoint.get('meta')
        data = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
        classes = data.get('classes') if isinstance(data, Mapping) else None
        self.learnt = tuple(map(str, classes or ()))

    def before_train(self, runner: Any) -> None:
        """Check the training data."""
        self._check(runner, runner.train_dataloader, 'train_dataloader')

    def before_val(self, runner: Any) -> None:
        """Check the validation data."""
        self._check(runner, runner.val_dataloader, 'val_dataloader')

    def before_test(self, runner: Any) -> None:
        """Check the test data."""
        self._check(runner, runner.test_dataloader, 'test_dataloader')

    def _check(self, runner: Any, loader: Any, name: str) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        check_classes(model, loader, name)
        begins = name == 'train_dataloader' and not getattr(runner, '_resume', False)
        check_order(self.learnt, loader, name, strict=not begins)


def check_classes(model: Any, loader: Any, name: str) -> None:
    """Compare the heads of a model with the data set of a loader.

    Args:
        model: The detector.
        loader: A data loader; nothing is read of it but its data set's ``metainfo``.
        name: The loader's key in the config, for the message.

    Raises:
        ConfigError: If they disagree.
    """
    metainfo = getattr(getattr(loader, 'dataset', None), 'metainfo', None) or {}
    classes = metainfo.get('classes')
    if classes is None:
        return
    for path, module in model.named_modules():
        number = module.__dict__.get('num_classes')
        if _is_head(path) and isinstance(number, int) and number != len(classes):
            raise ConfigError(
                f'model.{path}.num_classes is {number}, but {name}.dataset has '
                f'{len(classes)} classes ({", ".join(map(str, classes[:5]))}'
                f'{", ..." if len(classes) > 5 else ""}). Set num_classes={len(classes)}, or '
                "choose the classes by the data set's metainfo=dict(classes=(...))."
            )


def _is_head(path: str) -> bool:
    """Whether a module is a head that tells the data set's classes apart (an RPN does not)."""
    return path.rsplit('.', 1)[-1] == 'bbox_head'


def check_order(learnt: Sequence[str], loader: Any, name: str, *, strict: bool = True) -> None:
    """Refuse a data set with a checkpoint's classes in another order: every label would be wrong.

    Other names are said in the log, for another data set may call the same things otherwise.

    Args:
        learnt: The classes of the checkpoint; none where it does not say.
        loader: A data loader.
        name: Its key in the config, for the message.
        strict: Whether another order is refused; a training that only begins with the
            weights can learn it.

    Raises:
        ConfigError: With both orders.
    """
    metainfo = getattr(getattr(loader, 'dataset', None), 'metainfo', None) or {}
    classes = tuple(map(str, metainfo.get('classes') or ()))
    if not learnt or not classes or tuple(learnt) == classes:
        return
    mine, theirs = ', '.join(classes[:8]), ', '.join(learnt[:8])
    if strict and sorted(learnt) == sorted(classes):
        raise ConfigError(
            f'{name}.dataset: its classes are those of the checkpoint in another order: {mine},'
            f' where the checkpoint has {theirs}; write metainfo=dict(classes=(...)) in its order'
        )
    text = f'{name}.dataset has the classes {mine}; the checkpoint was trained on {theirs}'
    print_log(text, 'current', logging.WARNING)
