"""Weights, gradients and optimizer state shared out over the ranks: PyTorch's FSDP2.

Checkpoints hold whole tensors, as those of any other run: they load on any number of ranks,
sharded or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch import distributed as torch_dist

from ..errors import ConfigError
from ..registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class FullyShard:
    """``model_wrapper_cfg=dict(type='FullyShard')``: each rank keeps its share of every weight.

    Making one returns the model itself, whose parameters have become sharded ones: there is
    no wrapper around it.

    Args:
        module: The model, its weights set; all ranks take those of rank 0.
        units: Children whose weights are put together just before they are used, and
            dropped after; those of the rest stay together from forward to backward. Only
            what is called as a module can be one: backbone and neck, not a head.

    Raises:
        ConfigError: If PyTorch is older than 2.6, or a unit is no child of the model.

    Source: Zhao et al., PyTorch FSDP (2023); ``torch.distributed.fsdp.fully_shard``.
    """

    def __new__(  # noqa: D102
        cls, module: nn.Module, units: Sequence[str] = ('backbone', 'neck')
    ) -> Any:
        try:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard
        except ImportError:
            raise ConfigError(
                f'model_wrapper_cfg: FullyShard needs PyTorch 2.6, and this is {torch.__version__}'
            ) from None
        children = dict(module.named_children())
        unknown = [name for name in units if name not in children and name not in _OPTIONAL]
        if unknown:
            raise ConfigError(
                f'model_wrapper_cfg.units: the model has no {unknown}; it has {list(children)}'
            )
        for tensor in module.state_dict().values():
            torch_dist.broadcast(tensor, src=0)
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        mesh = init_device_mesh(device, (get_world_size(),))
        for name in units:
            if children.get(name) is not None:
                fully_shard(children[name], mesh=mesh)
        fully_shard(module, mesh=mesh)
        module.register_load_state_dict_pre_hook(_share_out_weights)
        return module


_OPTIONAL = ('neck',)  # a detector may go without


def asks_for_sharding(model_wrapper_cfg: Any) -> bool:
    """Whether a ``model_wrapper_cfg`` is that of :class:`FullyShard`."""
    kind = str((model_wrapper_cfg or {}).get('type', ''))
    return kind.rpartition('.')[2] == 'FullyShard'


def prepare_to_shard(model: nn.Module, cfg: Any, *, trains: bool) -> None:
    """Set the weights of a model that is to train: afterwards no rank has a whole one.

    Raises:
        ConfigError: If a hook wants to copy the model.
    """
    hooks = [*(cfg.get('custom_hooks') or []), *(cfg.get('default_hooks') or {}).values()]
    if any(str((hook or {}).get('type')).endswith('EMAHook') for hook in hooks):
        raise ConfigError(
            'model_wrapper_cfg: EMAHook copies the model, which FullyShard does not allow: leave'
            ' one of them out'
        )
    set_weights: Any = getattr(model, 'init_weights', None)
    if trains and set_weights is not None:
        set_weights()


def is_sharded(model: nn.Module) -> bool:
    """Whether the parameters of a model are shared out."""
    return any(_is_shared(p) for p in model.parameters())


def _is_shared(value: Any) -> bool:
    return hasattr(value, 'full_tensor') and hasattr(value, 'device_mesh')


def local_share(value: Any) -> Tensor:
    """This rank's share of a tensor; a plain tensor itself."""
    return value.to_local() if _is_shared(value) else value


def as_share_of(like: Any, local: Tensor) -> Any:
    """``local`` as this rank's share of a tensor that is laid out as ``like`` is."""
    if not _is_shared(like):
        return local
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        local, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )


def _share_out(whole: Tensor, like: Any) -> Any:
    """This rank's share of a tensor that every rank has."""
    from torch.distributed.tensor import distribute_tensor

    whole = whole.to(device=like.to_local().device)
    return distribute_tensor(whole, like.device_mesh, like.placements)


def _share_out_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = module.state_dict()
    for name, value in state.items():
        like = own.get(name.removeprefix(prefix))
        if _is_shared(like) and not _is_shared(value):
            state[name] = _share_out(value, like)


def share_out_optimizer(optim_wrapper: Any) -> None:
    """Let the optimizer of sharded parameters load a state of whole tensors.

    Raises:
        ConfigError: If there are several optimizers, or the losses are scaled: each rank would
            look for overflows in its own share alone, and the scales would drift apart.
    """
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    if optimizer is None:
        raise ConfigError('model_wrapper_cfg: FullyShard trains with one optimizer')
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    if scaler is not None and scaler.is_enabled():
        if optim_wrapper.cast_dtype is not torch.bfloat16:
            raise ConfigError(
                'model_wrapper_cfg: FullyShard trains in float32 or with optim_wrapper.dtype='
                "'bfloat16', not in float16"
            )
        optim_wrapper.loss_scaler = type(scaler)(enabled=False)  # bfloat16 needs no scale
    optimizer.register_load_state_dict_pre_hook(_share_out_state)


def _share_out_state(optimizer: torch.optim.Optimizer, loaded: dict[str, Any]) -> dict[str, Any]:
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    numbers = [n for group in loaded['param_groups'] for n in group['params']]
    state = {key: dict(values) for key, values in loaded['state'].items()}
    for parameter, number in zip(parameters, numbers):
        for key, value in state.get(number, {}).items():
            if _is_shared(parameter) and torch.is_tensor(value) and value.shape == parameter.shape:
                state[number][key] = _share_out(value, parameter)
    return {**loaded, 'state': state}


@contextmanager
def whole_states(model: nn.Module, optim_wrapper: Any) -> Iterator[None]:
    """Let the state dicts hold whole tensors; every rank has to enter.

    MMEngine asks for them on rank 0 alone, and putting shares together needs all ranks.
    """
    if not is_sharded(model):
        yield
        return
    weights = {name: _whole(value) for name, value in model.state_dict().items()}
    handles = [model.register_state_dict_post_hook(_Replace(weights))]
    if optim_wrapper is not None:
        optimizer = optim_wrapper.optimizer
        moments = {
            number: {key: _whole(value) for key, value in values.items()}
            for number, values in optimizer.state_dict()['state'].items()
        }
        handles.append(
            optimizer.register_state_dict_post_hook(lambda _, state: {**state, 'state': moments})
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _whole(value: Any) -> Any:
    return value.full_tensor().cpu() if _is_shared(value) else value


class _Replace:
    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights

    def __call__(self, module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
        state.update({prefix + name: value for name, value in self.weights.items()})
