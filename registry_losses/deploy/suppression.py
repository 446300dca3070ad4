"""NMS and the choice of the best, as nodes of an ONNX graph.

The exporter of PyTorch knows no NMS. The nodes are added behind its graph, so that they do
not depend on how it was made.

Shapes: B images, k candidates, K detections an image, C classes, S boxes that NMS keeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ConfigError
from ..ops import Suppression
from .graph import OUTPUTS


def check_suppression(rule: Suppression) -> Suppression:
    """The rule, if ONNX has it.

    Raises:
        ConfigError: On Soft-NMS.
    """
    if rule.method is None:
        return rule
    raise ConfigError(
        'model.test_cfg.nms: ONNX has no Soft-NMS. Export with --no-nms and suppress outside, or '
        'with --cfg-options "model.test_cfg.nms=dict(type=\'nms\', iou_threshold=0.6)"'
    )


class _Nodes:
    """Adds nodes and constants to a graph, naming their results."""

    def __init__(self, graph: Any) -> None:
        from onnx import helper, numpy_helper

        self.graph, self.helper, self.numpy_helper = graph, helper, numpy_helper
        self.count = 0

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = self._name('constant')
        tensor = self.numpy_helper.from_array(np.asarray(value, dtype), name)
        self.graph.initializer.append(tensor)
        return name

    def add(
        self, kind: str, *inputs: str, outputs: int = 1, to: str = '', **attributes: Any
    ) -> Any:
        names = [to] if to else [self._name(kind) for _ in range(outputs)]
        self.graph.node.append(self.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if len(names) == 1 else names

    def _name(self, kind: str) -> str:
        self.count += 1
        return f'chosen/{kind}_{self.count}'


def add_suppression(
    model: Any,
    rule: Suppression | None,
    *,
    count: int,
    num_classes: int,
    limit: int,
    clip_to: tuple[int, int] | None,
) -> None:
    """Put suppression behind a graph of candidates, in place.

    Args:
        model: ``onnx.ModelProto`` with outputs ``boxes (B, k, 4)``, ``scores (B, k)``
            (negative: empty) and ``labels (B, k)``.
        rule: Plain NMS; None for none.
        count: k, which the graph need not say.
        num_classes: C.
        limit: The most detections of an image; negative for k.
        clip_to: (W, H) to clip what is kept to.
    """
    graph = model.graph
    nodes = _Nodes(graph)
    boxes, scores, labels = (_inner(graph, name) for name in OUTPUTS)
    limit = count if limit < 0 else min(limit, count)
    if rule is not None:
        scores = _suppress(nodes, rule, boxes, scores, labels, num_classes, limit)
    best, place = nodes.add(
        'TopK', scores, nodes.constant([limit]), axis=1, largest=1, sorted=1, outputs=2
    )
    place4 = nodes.add('Expand', _column(nodes, place), nodes.constant([1, 1, 4]))
    boxes = nodes.add('GatherElements', boxes, place4, axis=1)
    labels = nodes.add('GatherElements', labels, place, axis=1)
    if clip_to is not None:
        boxes = nodes.add('Max', boxes, nodes.constant(0, np.float32))
        boxes = nodes.add('Min', boxes, nodes.constant([*clip_to, *clip_to], np.float32))
    zero = nodes.constant(0, np.float32)
    real = nodes.add('GreaterOrEqual', best, zero)
    nodes.add('Where', _column(nodes, real), boxes, zero, to='boxes')
    nodes.add('Where', real, best, zero, to='scores')
    nodes.add('Where', real, labels, nodes.constant(-1), to='labels')
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = limit


def _suppress(
    nodes: _Nodes,
    rule: Suppression,
    boxes: str,
    scores: str,
    labels: str,
    num_classes: int,
    limit: int,
) -> str:
    """``(B, k)`` scores, -1 where a box is suppressed."""
    by_class = nodes.add('Unsqueeze', scores, nodes.constant([1]))  # (B, 1, k)
    if not rule.class_agnostic:
        number = nodes.constant(np.arange(num_classes)[None, :, None])
        own = nodes.add('Equal', nodes.add('Unsqueeze', labels, nodes.constant([1])), number)
        by_class = nodes.add('Where', own, by_class, nodes.constant(-1, np.float32))  # (B, C, k)
    # More than are kept of an image need not be kept of a class. ONNX has y before x; both
    # swapped alike leave overlaps as they are.
    kept = nodes.add(
        'NonMaxSuppression',
        boxes,
        by_class,
        nodes.constant([limit]),
        nodes.constant([rule.iou_threshold], np.float32),
        nodes.constant([rule.min_score], np.float32),
    )  # (S, 3): image, class, candidate
    where = nodes.add('Gather', kept, nodes.constant([0, 2]), axis=1)
    nothing = nodes.add(
        'ConstantOfShape',
        nodes.add('Shape', scores),
        value=nodes.helper.make_tensor('empty', 1, [1], [-1.0]),
    )
    return nodes.add('ScatterND', nothing, where, nodes.add('GatherND', scores, where))


def _column(nodes: _Nodes, name: str) -> str:
    return nodes.add('Unsqueeze', name, nodes.constant([2]))


def _inner(graph: Any, name: str) -> str:
    """Rename an output of the graph to an inner value."""
    inner = f'candidates/{name}'
    for node in graph.node:
        for names in (node.input, node.output):
            for i, old in enumerate(names):
                if old == name:
                    names[i] = inner
    return inner
