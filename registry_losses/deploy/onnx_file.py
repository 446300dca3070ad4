"""Write a detector as ONNX.

Shapes: B images, k candidates, K detections an image, C classes.
"""

from __future__ import annotations

import inspect
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError, MissingDependencyError
from ..ops import Suppression
from .graph import OUTPUTS, InferenceGraph, require_exportable
from .suppression import add_suppression, check_suppression


def export_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    image_size: tuple[int, int],
    nms: bool = True,
    opset: int = 17,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a single-stage detector as an ONNX file.

    Input ``images (B, 3, H, W)`` float32 in [0, 255]; B is free, H and W are fixed. With
    ``nms`` the outputs are ``boxes (B, K, 4)`` xyxy pixels of the input, ``scores (B, K)`` and
    ``labels (B, K)``, best first; places that stay empty have label -1 and score 0. Without,
    they are ``boxes (B, N, 4)`` and ``scores (B, N, C)`` of every prior.

    Args:
        model: The detector, weights loaded.
        path: File to write; its folder is made.
        image_size: (W, H) of the input.
        nms: Whether to choose and suppress as the model's ``test_cfg`` says.
        opset: Version of ONNX's operators.
        notes: Written into the file's metadata, values as JSON.

    Returns:
        The path.

    Raises:
        ConfigError: If the model or its ``nms`` cannot be exported.
        MissingDependencyError: If onnx is not installed.
    """
    model = require_exportable(model)
    cfg = model.bbox_head.test_cfg
    rule = None
    if nms and getattr(model.bbox_head, 'score_voting', False):
        raise ConfigError(
            'bbox_head.score_voting: boxes that are voted on after NMS cannot be exported; set '
            'model.bbox_head.score_voting=False, or export without NMS'
        )
    if nms and cfg.get('nms'):
        rule = check_suppression(Suppression.of(cfg['nms']))
    onnx = import_onnx()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    was_training = model.training
    model.eval()
    try:
        graph = InferenceGraph(model, image_size, dense=not nms).eval()
        names = OUTPUTS if nms else OUTPUTS[:2]
        _trace(graph, path, image_size, names, opset)
        with torch.no_grad():
            count = graph(graph.limits.new_zeros(1, 3, *image_size[::-1]))[1].shape[1]
    finally:
        model.train(was_training)
    loaded = onnx.load(str(path))
    if nms:
        limit = cfg.get('max_per_img', 100)
        if rule is not None and rule.max_num >= 0:
            limit = rule.max_num if limit < 0 else min(limit, rule.max_num)
        add_suppression(
            loaded,
            rule,
            count=count,
            num_classes=model.bbox_head.num_classes,
            limit=limit,
            clip_to=image_size if model.bbox_head.clip_after_nms else None,
        )
    for key, value in dict(notes or {}).items():
        entry = loaded.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    onnx.checker.check_model(loaded)
    onnx.save(loaded, str(path))
    return path


def import_onnx() -> Any:
    """The package onnx.

    Raises:
        MissingDependencyError: Saying what to install.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            "export needs onnx: pip install 'registry_losses[export]' (or pip install onnx"
            ' onnxruntime)'
        ) from error
    return onnx


def _trace(
    graph: InferenceGraph,
    path: Path,
    image_size: tuple[int, int],
    names: tuple[str, ...],
    opset: int,
) -> None:
    """PyTorch's exporter by tracing, which needs no further package and is in every release."""
    options: dict[str, Any] = {}
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False
    width, height = image_size
    device = graph.limits.device
    # Two images, so that nothing takes a batch of one for a constant.
    example = torch.rand(2, 3, height, width, device=device) * 255
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # It warns of every size that becomes a constant, which all but the batch are.
            warnings.simplefilter('ignore')
            torch.onnx.export(
                graph,
                (example,),
                str(path),
                input_names=['images'],
                output_names=list(names),
                dynamic_axes={name: {0: 'batch'} for name in ('images', *names)},
                opset_version=opset,
                **options,
            )
    finally:
        logging.disable(disabled)
