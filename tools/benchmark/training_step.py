"""What a training step is made of, and what changed keys, or another config, make of it.

``python tools/benchmark/training_step.py [CONFIG ...] [--against KEY=VALUE ...]`` takes steps of
all configs, each as it is and with other keys, in turn, so that other programs disturb all alike,
and prints the parts of each and the ratio to the first.
"""

import argparse
import copy
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from registry_losses.commands.cli import positive_int, run_command
from registry_losses.config import ConfigOption, load_config
from registry_losses.detectors import SingleStageDetector
from registry_losses.engine import ChannelsLastHook, Runner

DIGITS = Path(__file__).resolve().parents[2] / 'configs/retinanet/retinanet_tiny_digits.py'
PARTS = ('data', 'network', 'losses', 'backward', 'optimiser')


class Steps:
    """A training that goes on step by step.

    Args:
        config: Its config.
        options: Keys that override it.
    """

    def __init__(self, config: str, options: dict[str, Any]) -> None:
        cfg = load_config(config, options=copy.deepcopy(options))
        cfg.work_dir = tempfile.mkdtemp()
        cfg.experiment_name = Path(cfg.work_dir).name
        self.runner = Runner.from_cfg(cfg)
        self.model: Any = self.runner.model
        self.model.init_weights()
        for hook in self.runner.hooks:
            if isinstance(hook, ChannelsLastHook):
                hook.before_run(self.runner)
        self.model.train()
        self.wrapper = self.runner.build_optim_wrapper(self.runner.optim_wrapper)
        self.batches = iter(self.runner.train_dataloader)
        self.seconds: list[dict[str, float]] = []

    def take(self, count: int, *, keep: bool) -> None:
        """Take steps, and keep how long their parts took."""
        for _ in range(count):
            marks = [time.perf_counter()]

            def mark(marks: list[float] = marks) -> None:
                marks.append(time.perf_counter())

            self._step(mark)
            if keep:
                parts = {n: b - a for n, a, b in zip(PARTS, marks, marks[1:])}
                self.seconds.append(parts | {'step': marks[-1] - marks[0]})

    def _step(self, mark: Any) -> None:
        model = self.model
        data = model.data_preprocessor(next(self.batches), True)
        mark()
        with self.wrapper.optim_context(model):
            if isinstance(model, SingleStageDetector):
                maps = model.bbox_head.raw_maps(model.extract_feat(data['inputs']))
                mark()
                samples = data['data_samples']
                losses = model.bbox_head.loss_by_feat(*maps, batch_data_samples=samples)
            else:
                losses = model(**data, mode='loss')
                mark()
            total, _ = model.parse_losses(losses)
        mark()
        self.wrapper.backward(total)
        mark()
        self.wrapper.step()
        self.wrapper.zero_grad()
        mark()

    def least(self, part: str) -> float:
        """The mean of the fastest tenth: what the part takes when nothing disturbs it."""
        times = sorted(seconds[part] for seconds in self.seconds)
        fastest = times[: max(len(times) // 10, 1)]
        return sum(fastest) / len(fastest)


def parser_of_steps() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(description='Parts of a training step, before and after.')
    parser.add_argument('configs', nargs='*', default=[str(DIGITS)], metavar='CONFIG')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOption, default={})
    parser.add_argument('--against', nargs='+', action=ConfigOption, metavar='KEY=VALUE')
    parser.add_argument('--threads', type=positive_int, default=2)
    parser.add_argument('--steps', type=positive_int, default=60, help='of each')
    return parser


def compare_steps(args: argparse.Namespace) -> None:
    """Measure and print."""
    logging.disable(logging.INFO)
    runs = {}
    for config in args.configs:
        runs[Path(config).stem] = Steps(config, args.cfg_options)
        if args.against:
            name = ', '.join(f'{k}={v}' for k, v in args.against.items())
            runs[f'{Path(config).stem}, {name}'] = Steps(
                config, {**args.cfg_options, **args.against}
            )
    torch.set_num_threads(args.threads)  # the runner chooses by what is free
    for run in runs.values():
        run.take(5, keep=False)
    for _ in range(max(args.steps // 6, 1)):
        for run in runs.values():
            run.take(6, keep=True)
    first = next(iter(runs.values())).least('step')
    print(f'{args.threads} threads, torch {torch.__version__}; ms, fastest tenth')
    for name, run in runs.items():
        parts = '  '.join(f'{part} {run.least(part) * 1e3:.1f}' for part in PARTS)
        step = run.least('step')
        print(f'{step * 1e3:7.1f}  ratio {step / first:.2f}  {name}: {parts}')


if __name__ == '__main__':
    run_command(parser_of_steps(), compare_steps, None)
