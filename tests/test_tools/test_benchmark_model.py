"""``tools/benchmark_model.py``: parameters and operations by hand, times and memory."""

import json

import pytest
import torch
from torch import nn

from registry_losses.commands.benchmark_model import (
    benchmark_model_main,
    count_flops,
    measure_model,
)
from registry_losses.testing.pairings.detectors import build, head_config

DIGITS = 'registry_losses::retinanet/retinanet_tiny_digits.py'


def test_operations_by_hand():
    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.bbox_head = nn.Conv2d(8, 2, 1, stride=2, bias=False)

    flops, parts = count_flops(Toy(), torch.zeros(1, 3, 10, 20))
    assert parts == dict(backbone=2 * 200 * 8 * 27, bbox_head=2 * 50 * 2 * 8)
    assert flops == sum(parts.values())


@pytest.mark.parametrize('head', ['fcos', 'roi', 'ae'])
def test_every_kind_of_detector(head):
    model = build(head_config(head)).eval()
    found = measure_model(model, (96, 64), batch_size=2, runs=3)
    assert found['parameters'] == sum(p.numel() for p in model.parameters())
    assert sum(found['parts'].values()) == found['parameters']
    assert found['flops'] > found['flops_parts']['backbone'] > 0
    times = found['latency']
    assert 0 < times['p10'] <= times['median'] <= times['p90']
    assert found['memory']['peak'] > 2**26


def test_the_tool(tmp_path, capsys):
    out = tmp_path / 'new' / 'b.json'
    words = ['--image-size', '128', '96', '--runs', '3', '--device', 'cpu', '--out', str(out)]
    benchmark_model_main([DIGITS, *words])
    found, text = json.loads(out.read_text()), capsys.readouterr().out
    assert found['input'] == [1, 3, 96, 128] and f'{found["parameters"] / 1e6:.3f} M' in text
    for word in ('GFLOP an image', 'median of 3 runs', 'images a second', 'MB at most'):
        assert word in text
    for words, message in (
        ([], 'resizes to no size; say which with --image-size'),
        (['--image-size', '100', '64'], 'multiples of 16'),
    ):
        with pytest.raises(SystemExit):
            benchmark_model_main([DIGITS, *words])
        assert message in capsys.readouterr().err
