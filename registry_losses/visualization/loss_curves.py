"""Losses and their gradients as curves, drawn from the registered losses themselves.

Shapes: P points of a curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, RegistryLossesError
from ..losses import GHMC, GHMR, BaseLoss
from ..losses.declared import declared
from ..losses.sigmoid import SigmoidLoss
from ..structures import ClassTargets
from .loss_names import parse_loss as parse_loss
from .loss_names import registered_losses as registered_losses

# A box of this side, shifted and stretched, makes the curves of the IoU family.
_SIDE = 32.0


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Args:
        label: The loss and its options.
        axis: ``'p_t'``, ``'error'`` or ``'shift'``: what the abscissa is.
        x: ``(P,)``.
        loss: ``(P,)``.
        gradient: ``(P,)`` its size, by the logit, the difference or the shift.
    """

    label: str
    axis: str
    x: np.ndarray
    loss: np.ndarray
    gradient: np.ndarray


def loss_curve(label: str, loss: torch.nn.Module, *, points: int = 400) -> Curve:
    """The curve of one loss, on the axis its kind asks for.

    * classes: a positive logit (target 1) against its probability ``p_t``, gradient by
      the logit; GHMC among a batch whose gradient norms are crowded at both ends, as
      those of a detector;
    * differences: against the error ``pred - target`` (heatmaps: at target 0);
    * decoded boxes: a box of 32 pixels against its shift along x.

    Raises:
        ConfigError: If the loss is no function of one such number.
    """
    kinds = declared(loss).kinds or ()
    if not isinstance(loss, BaseLoss):
        raise ConfigError(f'{label}: a loss of several parts has no curve')
    if loss.activation in ('sigmoid', 'softmax') or isinstance(loss, SigmoidLoss):
        return _class_curve(label, loss, points)
    if 'box_decoded' in kinds:
        return _box_curve(label, loss, points)
    if {'box_encoded', 'field', 'heatmap', 'objectness'} & set(kinds):
        return _error_curve(label, loss, points)
    raise ConfigError(f'{label}: no curve is defined for a loss of kind {", ".join(kinds)}')


def _slope(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradients of a function of each point."""
    leaf = x.clone().requires_grad_()
    values = function(leaf)
    (slope,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach().numpy(), slope.abs().numpy()


def _class_curve(label: str, loss: BaseLoss, points: int) -> Curve:
    p = torch.linspace(0.005, 0.995, points, dtype=torch.float64)
    x = torch.logit(p)
    if isinstance(loss, GHMC):
        crowd = _crowd(points)

        def function(z: Tensor) -> Tensor:
            # The curve's points ride along in a batch that is a hundred times larger.
            batch = torch.cat((z, torch.logit(1 - crowd)))[:, None]
            return loss(batch, torch.ones_like(batch), reduction_override='none')[:points, 0]

    elif loss.activation == 'softmax':
        columns = (declared(loss).num_classes or 1) + 1
        label_of = torch.zeros(points, dtype=torch.long)
        loss.eval()

        def function(z: Tensor) -> Tensor:
            # Two classes that count, the true one and the last; the others far below.
            others = torch.full((points, columns - 2), -60.0, dtype=z.dtype)
            logits = torch.cat((z[:, None], others, torch.zeros_like(z)[:, None]), dim=1)
            return loss(logits, label_of, reduction_override='none')

    else:
        columns = declared(loss).num_classes or 1
        target = torch.zeros(points, dtype=torch.long)
        sparse = ClassTargets.from_labels(target, columns)
        given = isinstance(loss, SigmoidLoss) and loss.reads_probabilities(sparse)
        loss.eval()

        def function(z: Tensor) -> Tensor:
            z = (z.sigmoid() if given else z)[:, None]
            if loss.target_format != 'sparse' or type(loss).__name__ == 'DiceLoss':
                return loss(z, torch.ones_like(z), reduction_override='none')
            # The classes beside the one that counts are far below.
            others = torch.full((points, columns - 1), -60.0, dtype=z.dtype)
            out = loss(torch.cat((z, others), dim=1), sparse, reduction_override='none')
            return out.reshape(points, -1).sum(1)

    values, slope = _slope(function, x)
    return Curve(label, 'p_t', p.numpy(), values, slope)


def _crowd(points: int) -> Tensor:
    """Gradient norms as in GHM's figure 2: very many easy, some very hard, few between."""
    # Quantiles in place of draws: the curve shows the rule, not the noise of a sample.
    even = torch.linspace(0, 1, 5 * points, dtype=torch.float64)
    easy, hard = even.pow(8), 1 - even.pow(4)
    norms = torch.cat((easy.repeat(18), hard, even))
    return norms.clamp(1e-6, 1 - 1e-6)


def _error_curve(label: str, loss: BaseLoss, points: int) -> Curve:
    # An odd number has a point at 0.
    error = torch.linspace(-2, 2, points + 1 - points % 2, dtype=torch.float64)
    rows = error.numel()
    width = 2 if type(loss).__name__ == 'PAFLoss' else 1
    if type(loss).__name__ == 'KeypointOHKMMSELoss':
        raise ConfigError(f'{label}: it picks the worst of many keypoints and has no curve')

    def function(d: Tensor) -> Tensor:
        pred = torch.stack((d, *[torch.zeros_like(d)] * (width - 1)), dim=1)
        if isinstance(loss, GHMR):
            generator = torch.Generator().manual_seed(0)
            crowd = torch.randn(100 * rows, 1, generator=generator, dtype=d.dtype) * 0.05
            pred = torch.cat((pred, crowd))
        out = loss(pred, torch.zeros_like(pred), reduction_override='none')
        return out.reshape(pred.shape[0], -1).sum(1)[:rows]

    values, slope = _slope(function, error)
    return Curve(label, 'error', error.numpy(), values, slope)


def _box_curve(label: str, loss: BaseLoss, points: int) -> Curve:
    loss.eval()
    shift = torch.linspace(-1.5 * _SIDE, 1.5 * _SIDE, points, dtype=torch.float64)
    target = torch.tensor([0.0, 0.0, _SIDE, _SIDE], dtype=torch.float64).expand(points, 4)
    if getattr(loss, 'bbox_format', 'xyxy') == 'xywh':
        raise ConfigError(f'{label}: curves are of xyxy boxes; leave bbox_format out')

    def function(d: Tensor) -> Tensor:
        zero = torch.zeros_like(d)
        pred = target + torch.stack((d, zero, d, zero), dim=1)
        out = loss(pred, target, reduction_override='none')
        return out.reshape(points, -1).sum(1)

    values, slope = _slope(function, shift)
    return Curve(label, 'shift', shift.numpy(), values, slope)


def _curve(label: str, loss: torch.nn.Module) -> Curve:
    """:func:`loss_curve`; what the loss refuses (a setting of several classes) is told."""
    try:
        return loss_curve(label, loss)
    except RegistryLossesError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(label) else f'{label}: {text}') from error


_AXES = {
    'p_t': ('probability of the true class, $p_t$', r'$|\partial L / \partial x|$, by the logit'),
    'error': ('error, prediction - target', r'$|\partial L / \partial d|$, by the error'),
    'shift': (
        f'shift of a box of {_SIDE:.0f} pixels',
        r'$|\partial L / \partial d|$, by the shift',
    ),
}


def plot_losses(
    names: Sequence[str], path: str | Path, *, title: str = '', max_loss: float | None = None
) -> Path:
    """Draw losses (left) and the size of their gradients (right) into a PNG.

    Args:
        names: As for :func:`parse_loss`; losses of different axes get rows of their own.
        path: Where to.
        title: Above the figure.
        max_loss: Where the ordinate of the losses ends.

    Returns:
        The path.
    """
    if not names:
        raise ConfigError('plot_losses: expected at least one loss, as FocalLoss:gamma=0,2')
    curves = [_curve(label, loss) for name in names for label, loss in parse_loss(name)]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes_used = [axis for axis in _AXES if any(c.axis == axis for c in curves)]
    figure = Figure(figsize=(9.5, 3.9 * len(axes_used)), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(axes_used), 2, squeeze=False)
    for (left, right), axis in zip(grid, axes_used):
        for i, curve in enumerate(c for c in curves if c.axis == axis):
            # Dashes let a curve show that another covers.
            style = dict(label=curve.label, linewidth=1.7, linestyle=('-', '--', '-.', ':')[i % 4])
            left.plot(curve.x, curve.loss, **style)
            right.plot(curve.x, curve.gradient, **style)
        below, beside = _AXES[axis]
        for panel, name in ((left, 'loss'), (right, beside)):
            panel.set_xlabel(below)
            panel.set_ylabel(name)
            panel.set_ylim(bottom=0)
            panel.margins(x=0)
            panel.grid(alpha=0.3)
        highest = max_loss
        if highest is None and axis == 'p_t':
            highest = 5.0  # beyond it a cross entropy hides what all others do
        if highest is not None:
            left.set_ylim(top=min(highest, left.get_ylim()[1]))
        left.legend(fontsize=8)
    if title:
        figure.suptitle(title)
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ConfigError(f'{path}: expected a name that ends in .{", .".join(formats)}')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
