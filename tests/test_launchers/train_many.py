"""Trains many systems in turn, as one rank of a torchrun: ``train_many.py OUT W NAME...``.

Every training goes through what ``tools/train.py --launcher pytorch`` calls, with W ranks that
share four images a step; what is random inside a model (dropout) is left out, and batch norms are
frozen, since they count the images of their own rank. Everything is in double precision: in single
precision (PRECISION=single) rounding soon decides which of two equal anchors a gt gets, or which
proposal NMS keeps.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from registry_losses import load_parts
from registry_losses.commands.train import train, train_parser
from registry_losses.config import configs_folder
from registry_losses.datasets import DigitsSpec, prepare_digits, prepare_puppets
from registry_losses.registry import HOOKS

BATCH, STEPS = 4, 10
SINGLE = os.environ.get('PRECISION') == 'single'
# Every small recipe: a new head comes in with its config.
SYSTEMS = {
    path.stem.partition('_tiny_')[0]: f'{path.parent.name}/{path.name}'
    for kind in ('digits', 'puppets')
    for path in sorted(configs_folder().glob(f'*/*_tiny_{kind}.py'))
}
POSE = frozenset(name for name, path in SYSTEMS.items() if path.endswith('_puppets.py'))


@HOOKS.register_module()
class FrozenNormsHook(Hook):
    """Double precision; batch norms use the running values, dropout passes everything."""

    def before_train(self, runner: Any) -> None:
        """Images arrive in single precision."""
        model = getattr(runner.model, 'module', runner.model)
        assert next(model.parameters()).dtype == (torch.float32 if SINGLE else torch.float64)
        if not SINGLE:
            model.data_preprocessor.register_forward_hook(_double)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Again before each step, for the loop sets the model to training."""
        for module in runner.model.modules():
            if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)):
                module.eval()


@HOOKS.register_module()
class KeepStartHook(Hook):
    """Writes the weights before and after the training to ``OUT/NAME/W.pt``."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def before_train(self, runner: Any) -> None:
        """Copy the weights."""
        self.start = {k: v.clone() for k, v in _weights(runner).items()}

    def after_train(self, runner: Any) -> None:
        """Write them."""
        if runner.rank == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(dict(start=self.start, end=_weights(runner)), self.path)


def _double(module: nn.Module, args: Any, output: dict[str, Any]) -> dict[str, Any]:
    for sample in output['data_samples']:
        gts = sample.gt_instances
        for key, value in gts.items():
            if torch.is_tensor(value) and value.is_floating_point():
                gts[key] = value.double()
    return {**output, 'inputs': output['inputs'].double()}


def _weights(runner: Any) -> dict[str, torch.Tensor]:
    return dict(getattr(runner.model, 'module', runner.model).named_parameters())


def options(name: str, out: Path, ranks: int) -> list[str]:
    """``--cfg-options`` of a short training on twenty images."""
    chosen = [
        f'train_dataloader.batch_size={BATCH // ranks}',
        f"train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters={STEPS})",
        'val_dataloader=None',
        'val_cfg=None',
        'val_evaluator=None',
        'test_dataloader=None',
        'test_cfg=None',
        'test_evaluator=None',
        'default_hooks.report=None',
        "default_hooks.checkpoint=dict(_delete_=True, type='CheckpointHook', interval=1000,"
        ' save_last=False)',
        "custom_hooks=[dict(type='FrozenNormsHook'),"
        f" dict(type='KeepStartHook', path='{out}/{name}/{ranks}.pt')]",
        # Adam divides by the size of the gradient, which blows rounding up.
        "optim_wrapper.optimizer=dict(_delete_=True, type='SGD', lr=0.002, momentum=0.9,"
        ' weight_decay=0.0001)',
        'param_scheduler=None',
        f'experiment_name={name}',
    ]
    data = 'train_dataloader.dataset'
    if name in POSE:
        spec = 'dict(num_train=20, num_val=4, image_size=64, max_persons=2)'
        return [*chosen, f'{data}.data_root={out}/puppets/', f'{data}.spec={spec}']
    return [
        *chosen,
        f'{data}.data_root={out}/digits/',
        f'{data}.num_train=20',
        f'{data}.num_val=4',
    ]


def draw(out: Path) -> None:
    """Draw the images, before any rank looks for them."""
    from registry_losses.datasets import PuppetsSpec

    prepare_digits(out / 'digits', DigitsSpec(num_train=20, num_val=4))
    spec = PuppetsSpec(num_train=20, num_val=4, image_size=64, max_persons=2)
    prepare_puppets(out / 'puppets', spec)


def main() -> None:
    """Train."""
    out, ranks, *names = sys.argv[1:]
    load_parts()
    torch.set_default_dtype(torch.float32 if SINGLE else torch.float64)
    for name in names:
        words = [f'registry_losses::{SYSTEMS[name]}', '--work-dir', f'{out}/{name}/run{ranks}']
        words += ['--launcher', 'pytorch', '--cfg-options', *options(name, Path(out), int(ranks))]
        train(train_parser().parse_args(words))


if __name__ == '__main__':
    main()
