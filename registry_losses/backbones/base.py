"""What every backbone shares: freezing, batch norm kept in eval mode, checked options.

Shapes: B images, H x W the input in pixels; level i is ``(B, C_i, ceil(H / s_i), ceil(W / s_i))``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from registry_losses.errors import ConfigError

# He et al., Delving Deep into Rectifiers, 2015: what every backbone here starts from.
DEFAULT_INIT: list[dict] = [
    {'type': 'Kaiming', 'layer': 'Conv2d'},
    {'type': 'Constant', 'val': 1, 'layer': ['_BatchNorm', 'GroupNorm']},
]


class BaseBackbone(BaseModule):
    """A stem, stages, and which of them train.

    A subclass creates its layers, sets :attr:`out_channels` and :attr:`out_strides` (one
    entry an output, in the order of the outputs), :attr:`stage_names` and
    :attr:`out_indices`, and calls :meth:`freeze` last in its ``__init__``, so that an
    optimizer built before the first ``train()`` sees ``requires_grad`` as it will be. One
    whose stages are not each one child overrides :meth:`stages` and :meth:`forward`.

    Args:
        frozen_stages: -1 freezes nothing, 0 the stem, k the stem and the first k
            stages: their parameters get no gradient and their batch norm stays in
            eval mode.
        norm_eval: Keep every batch norm of the backbone in eval mode while training,
            as detection with one or two images a device needs.
        init_cfg: How :meth:`init_weights` fills the parameters (MMEngine's format).
    """

    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]
    out_indices: tuple[int, ...]
    """Which of the stages to return, from shallow to deep."""
    stage_names: Sequence[str]
    """The children to run in order: the stem, then each stage."""

    def __init__(
        self,
        *,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

    def stages(self) -> list[Sequence[nn.Module]]:
        """The modules of the stem, then those of each stage."""
        return [(getattr(self, name),) for name in self.stage_names]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, in_channels, H, W)`` to one map for each of ``out_indices``."""
        return self.run_stages(x, self.stage_names, self.out_indices)

    def freeze(self) -> None:
        """Stop gradients and batch statistics of the frozen stages."""
        for modules in self.stages()[: self.frozen_stages + 1]:
            for module in modules:
                module.eval()
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> BaseBackbone:
        """Set the mode; what is frozen stays in eval mode. Returns itself."""
        super().train(mode)
        self.freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def run_stages(
        self, x: Tensor, names: Sequence[str], out_indices: Sequence[int]
    ) -> tuple[Tensor, ...]:
        """Run the named children in order up to the last output; return those asked for."""
        outs = []
        for i, name in enumerate(names[: out_indices[-1] + 1]):
            x = getattr(self, name)(x)
            if i in out_indices:
                outs.append(x)
        return tuple(outs)


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise :class:`ConfigError` unless ``value`` is one of ``choices``."""
    allowed = list(choices)
    if value not in allowed:
        raise ConfigError(f'{name}: expected one of {allowed}, got {value!r}')


def check_out_indices(
    out_indices: Sequence[int], num_stages: int, *, name: str = 'out_indices'
) -> tuple[int, ...]:
    """The indices as a tuple: not empty, increasing, each in ``0 .. num_stages - 1``.

    Raises:
        ConfigError: Otherwise. Outputs always come from shallow to deep, so an
            unsorted list would silently name other levels than the user means.
    """
    indices = tuple(out_indices)
    in_range = all(isinstance(i, int) and 0 <= i < num_stages for i in indices)
    if not indices or not in_range or list(indices) != sorted(set(indices)):
        raise ConfigError(
            f'{name}: expected increasing indices in 0 .. {num_stages - 1}, got {out_indices}'
        )
    return indices


def check_frozen_stages(frozen_stages: int, num_stages: int) -> int:
    """``frozen_stages`` if it lies in ``-1 .. num_stages``, else :class:`ConfigError`."""
    if not -1 <= frozen_stages <= num_stages:
        raise ConfigError(
            f'frozen_stages: expected -1 (none), 0 (the stem) .. {num_stages}, got {frozen_stages}'
        )
    return frozen_stages


def check_same_length(**lists: Sequence[object]) -> int:
    """The common length of the named lists, else :class:`ConfigError`."""
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ConfigError(f'expected lists of one length, at least 1, got lengths {lengths}')
    return next(iter(lengths.values()))


def split_at(ends: Sequence[int], layers: Sequence[nn.Module]) -> list[Sequence[nn.Module]]:
    """The layers up to each of ``ends``: stages of a network that is one list of layers."""
    return [layers[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
