"""The loss plotter: its curves by hand, its pictures, its errors."""

import math
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from registry_losses.commands.plot_losses import plot_losses_main
from registry_losses.errors import ConfigError
from registry_losses.visualization.loss_curves import (
    loss_curve,
    parse_loss,
    plot_losses,
    registered_losses,
)

TOOL = Path(__file__).parents[2] / 'tools' / 'plot_losses.py'
NO_CURVE = {
    'AssociativeEmbeddingLoss',
    'DistributionFocalLoss',
    'KeypointOHKMMSELoss',
    'YOLOV1Loss',
    'YOLOV3Loss',
}


def curve(text):
    ((label, loss),) = parse_loss(text)
    return loss_curve(label, loss)


@pytest.mark.parametrize('gamma', [0, 0.5, 2])
def test_focal_curve_is_the_formula(gamma):
    c = curve(f'FocalLoss:alpha=1.0:gamma={gamma}')
    want = [-((1 - p) ** gamma) * math.log(p) for p in c.x]
    np.testing.assert_allclose(c.loss, want, rtol=1e-6)
    # d/dx = (1 - p)^gamma (gamma p log p + p - 1)
    slope = [abs((1 - p) ** gamma * (gamma * p * math.log(p) + p - 1)) for p in c.x]
    np.testing.assert_allclose(c.gradient, slope, rtol=1e-5)


def test_ghm_lowers_the_gradient_of_crowded_norms():
    """GHM's figure: above the cross entropy in the middle, below it at the outliers."""
    ce, ghm = curve('CrossEntropyLoss:use_sigmoid=True'), curve('GHMC:bins=30')
    gain = ghm.gradient / ce.gradient
    middle = gain[(ce.x > 0.3) & (ce.x < 0.7)]
    assert gain[0] < middle.min() and gain[-1] < middle.min()


def test_regression_and_box_curves():
    c = curve('SmoothL1Loss:beta=0.5')
    d = np.abs(c.x)
    np.testing.assert_allclose(c.loss, np.where(d < 0.5, d * d, d - 0.25), atol=1e-9)
    box = curve('IoULoss:mode=linear')
    width = np.clip(32 - np.abs(box.x), 0, None)
    iou = width / (64 - width)
    np.testing.assert_allclose(box.loss, 1 - np.maximum(iou, 1e-6), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', sorted(registered_losses()))
def test_every_loss_has_a_curve_or_says_why_not(name):
    if name in NO_CURVE:
        with pytest.raises(ConfigError, match='curve'):
            curve(name)
        return
    c = curve('SeesawLoss:num_classes=3' if name == 'SeesawLoss' else name)
    assert len(c.x) == len(c.loss) == len(c.gradient)
    assert np.isfinite(c.loss).all() and np.isfinite(c.gradient).all()
    assert np.ptp(c.loss) > 0.01


@pytest.mark.parametrize(
    ('of_logits', 'of_probabilities'),
    [
        ('FocalLoss', 'FocalLoss:activated=True'),
        ('QualityFocalLoss', 'QualityFocalLoss:activated=True'),
        ('GaussianFocalLoss', 'GaussianFocalLoss:use_sigmoid=False'),
    ],
)
def test_losses_of_probabilities_have_the_curve_of_their_logits(of_logits, of_probabilities):
    want, got = curve(of_logits), curve(of_probabilities)
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(got.gradient, want.gradient, rtol=1e-5, atol=1e-9)


def test_a_setting_of_several_classes_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        plot_losses_main(['FocalLoss:alpha=[0.1,0.2]'])
    assert stop.value.code == 1 and 'alpha: expected 1 numbers' in capsys.readouterr().err


def test_lists_and_combinations():
    labels = [label for label, _ in parse_loss('FocalLoss:gamma=0,2:alpha=0.25,[0.5,0.5]')]
    assert len(labels) == 4 and labels[0] == 'FocalLoss(gamma=0, alpha=0.25)'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('FocalLos', 'FocalLoss'),
        ('FocalLoss:gama=2', 'nearest: gamma'),
        ('FocalLoss:gamma=-1', 'gamma: expected a number of at least 0'),
        ('FocalLoss:gamma', 'OPTION=VALUE'),
    ],
)
def test_errors_tell_the_way_out(text, message, capsys):
    with pytest.raises(ConfigError, match=message):
        parse_loss(text)
    with pytest.raises(SystemExit) as stop:
        plot_losses_main([text])
    assert stop.value.code == 1 and message in capsys.readouterr().err


def test_a_file_name_of_no_picture_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        plot_losses_main(['L1Loss', '--out', str(tmp_path / 'curves.xyz')])
    assert stop.value.code == 1 and 'expected a name that ends in' in capsys.readouterr().err


def test_the_tool_draws_every_kind_of_curve(tmp_path, monkeypatch):
    out = tmp_path / 'made' / 'x.png'
    names = ['FocalLoss:gamma=0,2', 'L1Loss', 'GIoULoss']
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *names, '--out', str(out)])
    monkeypatch.setattr(sys, 'path', [*sys.path])
    runpy.run_path(str(TOOL), run_name='__main__')
    tall = cv2.imread(str(out))
    plot_losses(['FocalLoss'], out)
    one = cv2.imread(str(out))
    assert tall.shape[0] == 3 * one.shape[0] and tall.shape[1] == one.shape[1]
    # More than paper: the lines are there.
    assert (one < 200).any(axis=2).mean() > 0.01
