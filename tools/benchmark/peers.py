"""The established implementations, called as their own heads call them, where installed.

Each takes a whole batch; those that know one image only are called image by image.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

#: ``call() -> seconds | None``: seconds where only a part of the call counts.
Call = Callable[[], Any]


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def instances(scene: Any, i: int) -> InstanceData:
    """The gts of one image in OpenMMLab's form."""
    return InstanceData(bboxes=scene.gts(i), labels=scene.labels(i))


def mmdet_assigner(
    name: str, *, points: bool = False, logits: bool = False, **options: Any
) -> Callable[[Any], Call]:
    """Mmdet's assigner of a name, image by image.

    Args:
        name: The class.
        points: Priors are points with strides, not boxes.
        logits: Scores are logits, not probabilities.
        **options: Its arguments.
    """

    def build(scene: Any) -> Call:
        module = importlib.import_module('mmdet.models.task_modules.assigners')
        assigner = getattr(module, name)(**options)
        priors = points_of(scene) if points else scene.priors.boxes
        inputs = []
        for i in range(scene.gt.batch_size):
            pred = InstanceData(priors=priors)
            if scene.predictions is not None:
                pred.bboxes, scores = scene.answers(i)
                pred.scores = scores.logit(1e-6) if logits else scores
            inputs.append((pred, instances(scene, i)))
        extra = (list(scene.priors.level_sizes),) if 'ATSS' in name else ()
        return lambda: [assigner.assign(pred, *extra, gts) for pred, gts in inputs]

    return build


def points_of(scene: Any) -> Tensor:
    """``(N, 4)`` centre and stride of each prior."""
    return torch.cat((scene.priors.centers, scene.priors.strides), dim=1)


def mmyolo_assigner(name: str, *, logits: bool = False) -> Callable[[Any], Call]:
    """Mmyolo's batched assigner of a name.

    Args:
        name: The class.
        logits: Scores are logits, not probabilities.
    """

    def build(scene: Any) -> Call:
        module = importlib.import_module('mmyolo.models.task_modules.assigners')
        importlib.import_module('mmdet.models.task_modules.assigners')
        assigner = getattr(module, name)(scene.num_classes)
        gt = scene.gt
        gts = (gt.labels[..., None], gt.boxes, gt.valid[..., None].float())
        if name == 'BatchATSSAssigner':
            # Boxes are read for the class targets alone: those of the priors will do.
            boxes = scene.priors.boxes.expand(gt.batch_size, -1, -1)
            sizes = list(scene.priors.level_sizes)
            return lambda: assigner(boxes, scene.priors.boxes, sizes, *gts)
        priors = points_of(scene)
        boxes, scores = scene.predictions.boxes, scene.predictions.scores
        scores = scores.logit(1e-6) if logits else scores
        return lambda: assigner(boxes, scores, priors, *gts)

    return build


def mmdet_fcos(scene: Any) -> Call:
    """The targets of mmdet's FCOSHead; box targets come with the labels there."""
    head_type = importlib.import_module('mmdet.models.dense_heads').FCOSHead
    head = head_type(scene.num_classes, 1, feat_channels=32, stacked_convs=1)
    points = list(scene.priors.centers.split(list(scene.priors.level_sizes)))
    gts = [instances(scene, i) for i in range(scene.gt.batch_size)]
    return lambda: head.get_targets(points, gts)


class _Stopwatch(nn.Module):
    """Runs while YOLOv5Head matches, and stands still while it works out losses.

    The head does both in one method. It reads a level's predictions for the first time
    when the matching of that level is done, and the loss of the objectness is the last
    thing before the next level.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.since = 0.0, 0.0

    def start(self) -> None:
        """Run from now on."""
        self.since = time.perf_counter()

    def stop(self) -> None:
        """Stand still."""
        self.seconds += time.perf_counter() - self.since

    def forward(self, *_: Any) -> Tensor:
        """In place of the loss of the objectness."""
        self.start()
        return torch.zeros(1)


class _Unread:
    """In place of a level's box predictions."""

    def __init__(self, watch: _Stopwatch, shape: tuple[int, ...]) -> None:
        self.watch, self.shape = watch, torch.Size(shape)

    def reshape(self, *_: int) -> '_Unread':
        """The first thing that is done with the predictions."""
        self.watch.stop()
        return self

    def __getitem__(self, _: Any) -> None:
        return None


class _NoBoxLoss(nn.Module):
    def forward(self, _: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """No loss, and the IoUs."""
        return torch.zeros(1), torch.zeros(len(targets))


def mmyolo_yolov5(scene: Any) -> Call:
    """What mmyolo's YOLOv5Head does to match, of its ``loss_by_feat``; seconds."""
    importlib.import_module('mmdet.models')
    head_type = importlib.import_module('mmyolo.models.dense_heads').YOLOv5Head
    levels, batch = scene.priors.levels, scene.gt.batch_size
    head = head_type(
        dict(type='YOLOv5HeadModule', num_classes=1, in_channels=[8] * 3, num_base_priors=3),
        dict(
            type='mmdet.YOLOAnchorGenerator',
            base_sizes=[[tuple(size) for size in level.base_sizes] for level in levels],
            strides=[int(level.stride[0]) for level in levels],
        ),
    )
    watch = _Stopwatch()
    head.loss_obj, head.loss_bbox = watch, _NoBoxLoss()
    head._decode_bbox_to_xywh = lambda *_: None
    shapes = [(batch, 3, level.height, level.width) for level in levels]
    boxes = [_Unread(watch, (b, 12, h, w)) for b, _, h, w in shapes]
    objectness = [torch.zeros(shape) for shape in shapes]
    classes = [torch.zeros(1)] * len(levels)
    image, index = scene.gt.valid.nonzero(as_tuple=True)
    gts = torch.cat(
        (
            image[:, None].float(),
            scene.gt.labels[image, index][:, None].float(),
            scene.gt.boxes[image, index],
        ),
        dim=1,
    )
    sizes = [dict(batch_input_shape=(scene.size, scene.size))] * batch

    def call() -> float:
        watch.seconds = 0.0
        watch.start()
        head.loss_by_feat(classes, boxes, objectness, gts, sizes)
        return watch.seconds

    return call


# For each of our rows: the package, what it is there, and what builds a call from a scene.
PEERS: dict[str, list[tuple[str, str, Callable[[Any], Call]]]] = {
    'MaxIoU': [
        (
            'mmdet',
            'MaxIoUAssigner',
            mmdet_assigner('MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
        )
    ],
    'ATSS': [('mmdet', 'ATSSAssigner', mmdet_assigner('ATSSAssigner', topk=9))],
    'BatchATSS': [('mmyolo', 'BatchATSSAssigner', mmyolo_assigner('BatchATSSAssigner'))],
    'FCOS': [('mmdet', 'FCOSHead.get_targets', mmdet_fcos)],
    'SimOTA': [('mmdet', 'SimOTAAssigner', mmdet_assigner('SimOTAAssigner', points=True))],
    'DynamicSoftLabel': [
        (
            'mmdet',
            'DynamicSoftLabelAssigner',
            mmdet_assigner('DynamicSoftLabelAssigner', points=True, logits=True),
        ),
        (
            'mmyolo',
            'BatchDynamicSoftLabelAssigner',
            mmyolo_assigner('BatchDynamicSoftLabelAssigner', logits=True),
        ),
    ],
    'TaskAligned': [
        ('mmdet', 'TaskAlignedAssigner', mmdet_assigner('TaskAlignedAssigner', topk=13))
    ],
    'BatchTaskAligned': [
        ('mmyolo', 'BatchTaskAlignedAssigner', mmyolo_assigner('BatchTaskAlignedAssigner'))
    ],
    'SSD': [
        (
            'mmdet',
            "MaxIoUAssigner as SSDHead's",
            mmdet_assigner(
                'MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.0,
                gt_max_assign_all=False,
            ),
        )
    ],
    'YOLOV5': [('mmyolo', 'YOLOv5Head, its matching', mmyolo_yolov5)],
}


def peers_of(name: str, scene: Any) -> list[tuple[str, Call]]:
    """The installed counterparts of a row: what to call them, and the calls."""
    found = []
    for package, label, build in PEERS.get(name, []):
        if installed(package):
            found.append((f'{package} {label}', build(scene)))
    return found


def shortest_ms(call: Call, seconds: float = 4.0, repeat: int = 3) -> float:
    """The shortest of some runs, in milliseconds; fewer where they take long.

    Args:
        call: What to time; a first run counts only if it took a fifth of the time allowed.
        seconds: No further run after so much time.
        repeat: Runs at most.
    """
    best, begin = float('inf'), time.perf_counter()
    for run in range(repeat + 1):
        start = time.perf_counter()
        own = call()
        elapsed = own if isinstance(own, float) else time.perf_counter() - start
        if run or elapsed > seconds / 5:
            best = min(best, elapsed)
        if time.perf_counter() - begin > seconds and best < float('inf'):
            break
    return best * 1e3
