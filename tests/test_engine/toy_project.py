"""A data set, a model and a metric small enough to train in a subprocess of a test.

Imported by configs through ``custom_imports``.
"""

from __future__ import annotations

import os
import signal

import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from registry_losses.registry import DATASETS, HOOKS, METRICS, MODELS
from registry_losses.structures import DetDataSample


@DATASETS.register_module()
class ToyDataset(Dataset):
    """Points in eight dimensions and a noisy linear answer."""

    metainfo = dict(classes=('a', 'b'))

    def __init__(self, size: int = 24) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(size, 8, generator=generator)
        self.targets = self.inputs.sum(1, keepdim=True) + torch.randn(size, 1, generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict:
        sample = DetDataSample(metainfo=dict(img_id=1000 + int(index)))
        sample.set_field(self.targets[int(index)], 'target')
        return dict(inputs=self.inputs[int(index)], data_samples=sample)


@MODELS.register_module()
class ToyModel(BaseModel):
    """A small net with dropout, so that the random generator matters.

    Args:
        dropout: Its rate.
        nan_at: Return a NaN loss in the step that first sees this image id.
    """

    def __init__(self, dropout: float = 0.3, nan_at: int | None = None) -> None:
        super().__init__()
        self.nan_at = nan_at
        self.layers = nn.Sequential(
            nn.Linear(8, 16), nn.GroupNorm(2, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 1)
        )

    def forward(self, inputs, data_samples=None, mode='tensor'):
        outputs = self.layers(torch.stack(list(inputs)))
        if mode == 'tensor':
            return outputs
        targets = torch.stack([s.target for s in data_samples])
        if mode == 'loss':
            loss = (outputs - targets).square().mean()
            if self.nan_at in [s.img_id for s in data_samples]:
                loss = loss * float('nan')
            return dict(loss=loss)
        for sample, output in zip(data_samples, outputs):
            sample.set_field(output, 'output')
        return data_samples


@METRICS.register_module()
class ToyMetric(BaseMetric):
    """Negative mean square error, so that greater is better."""

    default_prefix = 'toy'

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            self.results.append(float((sample['output'] - sample['target']).square()))

    def compute_metrics(self, results) -> dict:
        return dict(mAP=-sum(results) / len(results))


@HOOKS.register_module()
class KillHook(Hook):
    """Kills the process as ``kill -9`` does.

    Args:
        iteration: After this many steps, before anything is saved.
        while_writing: In the middle of writing this checkpoint instead.
        marker: A file that is made first; the process is killed once only.
    """

    priority = 'NORMAL'

    def __init__(
        self, marker: str, iteration: int | None = None, while_writing: str | None = None
    ) -> None:
        self.marker, self.iteration = marker, iteration
        if while_writing and not os.path.exists(marker):
            from registry_losses.engine import checkpoint

            real = os.replace

            def replace(source, target) -> None:
                if str(target).endswith(while_writing):
                    with open(source, 'r+b') as file:  # as if the disk was half way
                        file.truncate(os.path.getsize(source) // 2)
                    self._kill()
                real(source, target)

            checkpoint.os.replace = replace

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.iteration == runner.iter + 1 and not os.path.exists(self.marker):
            self._kill()

    def _kill(self) -> None:
        with open(self.marker, 'w'):
            pass
        os.kill(os.getpid(), signal.SIGKILL)


@METRICS.register_module()
class ToyLoss(ToyMetric):
    """The mean square error, so that less is better."""

    def compute_metrics(self, results) -> dict:
        return dict(loss=sum(results) / len(results))


@HOOKS.register_module()
class SignalHook(Hook):
    """Sends this process a signal, as a batch system or a user does.

    Args:
        number: The signal.
        marker: A file that is made first; the signal is sent once only.
        iteration: In the step after so many.
        in_validation: In the first validation instead.
        rank: On this rank alone; None for all.
    """

    def __init__(
        self,
        number: int,
        marker: str,
        iteration: int | None = None,
        in_validation: bool = False,
        rank: int | None = None,
    ) -> None:
        self.number, self.marker, self.iteration = number, marker, iteration
        self.in_validation, self.rank = in_validation, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.iteration:
            self._send(runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.in_validation and batch_idx == 1:
            self._send(runner)

    def _send(self, runner) -> None:
        marker = f'{self.marker}.{runner.rank}'
        if self.rank in (None, runner.rank) and not os.path.exists(marker):
            with open(marker, 'w'):
                pass
            os.kill(os.getpid(), self.number)


@HOOKS.register_module()
class FreezeHook(Hook):
    """Stops rank 1 as a machine that hangs does, or lets it raise."""

    def __init__(self, iteration: int, how: str) -> None:
        self.iteration, self.how = iteration, how

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.rank != 1 or runner.iter != self.iteration:
            return
        if self.how == 'raise':
            raise RuntimeError('this rank has had enough')
        os.kill(os.getpid(), getattr(signal, self.how))
