"""Any feature-extracting model of the optional package timm.

Shapes: B images; output i is ``(B, out_channels[i], H / out_strides[i], W / out_strides[i])``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from torch import Tensor, nn

from registry_losses.backbones.base import BaseBackbone
from registry_losses.errors import ConfigError, MissingDependencyError
from registry_losses.registry import MODELS


@MODELS.register_module()
class TIMMBackbone(BaseBackbone):
    """``timm.create_model(model_name, features_only=True)`` as a backbone.

    Wightman, PyTorch Image Models, 2019. The model is the child ``timm_model``, as in
    OpenMMLab's wrappers. timm is imported when the backbone is built, not before.

    Args:
        model_name: A name of ``timm.list_models()``.
        out_indices: Which feature levels to return, in timm's counting; None is all.
        pretrained: Load timm's weights, from its hub or its local cache.
        checkpoint_path: A local file of weights, instead of ``pretrained``.
        in_channels: Channels of the image.
        timm_args: Further arguments of ``timm.create_model``, for example
            ``dict(img_size=512)`` or ``dict(output_stride=16)``.
        norm_eval: Keep batch norm in eval mode while training.
        frozen: Train nothing of the backbone. (timm's models do not name their stages
            alike, so single stages cannot be frozen.)
        init_cfg: None keeps timm's initialisation.

    Raises:
        MissingDependencyError: timm, or the torchvision that timm imports, is missing or
            does not match the installed torch.
        ConfigError: A model that timm does not know or that gives no feature maps.

    Example:
        >>> TIMMBackbone('resnet18', out_indices=(2, 3, 4))  # doctest: +SKIP
    """

    def __init__(
        self,
        model_name: str,
        *,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        checkpoint_path: str = '',
        in_channels: int = 3,
        timm_args: dict | None = None,
        norm_eval: bool = False,
        frozen: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        timm = import_timm()
        super().__init__(frozen_stages=0 if frozen else -1, norm_eval=norm_eval, init_cfg=init_cfg)
        reserved = {'features_only', 'out_indices', 'pretrained', 'checkpoint_path', 'in_chans'}
        clash = sorted(reserved & set(timm_args or {}))
        if clash:
            raise ConfigError(f'timm_args: {clash} are set by TIMMBackbone itself; remove them')
        try:
            self.timm_model: nn.Module = timm.create_model(
                model_name,
                features_only=True,
                out_indices=None if out_indices is None else tuple(out_indices),
                pretrained=pretrained,
                checkpoint_path=checkpoint_path,
                in_chans=in_channels,
                **(timm_args or {}),
            )
        except (RuntimeError, AttributeError, TypeError, AssertionError, IndexError) as error:
            raise ConfigError(
                f'timm cannot build {model_name!r} with features_only=True and '
                f'out_indices={out_indices}: {error}. See timm.list_models() for the names'
            ) from error
        info = self.timm_model.feature_info
        # Swin and its kin return (B, H, W, C), and say so.
        output_format = getattr(self.timm_model, 'output_fmt', 'NCHW')
        self.channels_last = str(getattr(output_format, 'value', output_format)) == 'NHWC'
        self.out_channels = tuple(info.channels())
        self.out_strides = tuple(info.reduction())
        self.freeze()

    def stages(self) -> list[Sequence[nn.Module]]:
        """One group: the whole model."""
        return [(self.timm_model,)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, in_channels, H, W)`` to one map for each output level, channels first."""
        outs = self.timm_model(x)
        if self.channels_last:
            outs = [out.permute(0, 3, 1, 2).contiguous() for out in outs]
        return tuple(outs)


def import_timm() -> ModuleType:
    """The module ``timm``.

    Raises:
        MissingDependencyError: With what to install. A torchvision that does not match
            torch raises RuntimeError while it is imported, hence the two exceptions.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            'TIMMBackbone needs timm and a torchvision that matches the installed torch: '
            f"pip install 'registry_losses[timm]' (the import failed with: {error})"
        ) from error
    return timm
