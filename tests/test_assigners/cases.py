"""The one table of assigners under test: every common suite runs over its rows.

To add an assigner, add a row to ``ASSIGNERS``: it is then compared with its reference on every
kind of priors, and all that holds for every assigner is tried on it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from registry_losses.assigners import (
    ApproxMaxIoUAssigner,
    ATSSAssigner,
    BaseAssigner,
    BatchATSSAssigner,
    BatchDynamicSoftLabelAssigner,
    BatchTaskAlignedAssigner,
    CenterNetAssigner,
    CenterRegionAssigner,
    DynamicSoftLabelAssigner,
    FCOSAssigner,
    GaussianAssigner,
    GridAssigner,
    HungarianAssigner,
    MaxIoUAssigner,
    OTAAssigner,
    PAAAssigner,
    PointAssigner,
    RegionAssigner,
    SimOTAAssigner,
    SSDAssigner,
    TaskAlignedAssigner,
    TopkHungarianAssigner,
    UniformAssigner,
    YOLOV1Assigner,
    YOLOV3Assigner,
    YOLOV5Assigner,
)
from registry_losses.testing.reference import assigners as reference
from registry_losses.testing.reference.assigners import Answer, Image

from .judge import GRIDS as GRIDS


@dataclass(frozen=True)
class Case:
    """One assigner under test.

    Args:
        assigner: It, with some options.
        reference: The same rule in plain loops, with the same options; None where its own
            test compares it.
        may_skip: May leave a single, well visible gt without a prior.
        ordered: Of several gts with the same best prior the last takes it, so that their
            order matters; permutations are tried on gts that are far apart.
        exact_ties: Whether the reference breaks exact ties in the same way. The others are
            compared on gts of which no two are equal and none sits on the grid.
    """

    assigner: BaseAssigner
    reference: Callable[[Image], Answer] | None = None
    may_skip: bool = False
    ordered: bool = False
    exact_ties: bool = True


def _case(assigner: BaseAssigner, rule: Callable | None, *options, **kwargs) -> Case:
    """A row; what is no field of :class:`Case` goes to the reference."""
    flags = {k: kwargs.pop(k) for k in ('may_skip', 'ordered', 'exact_ties') if k in kwargs}
    call = None if rule is None else lambda image: rule(image, *options, **kwargs)
    return Case(assigner, call, **flags)


ASSIGNERS = {
    'MaxIoU': _case(MaxIoUAssigner(0.5, 0.4), reference.max_iou, 0.5, 0.4, ordered=True),
    'MaxIoU first': _case(
        MaxIoUAssigner(0.7, 0.3, 0.3, False),
        reference.max_iou,
        0.7,
        0.3,
        0.3,
        False,
        may_skip=True,
        ordered=True,
    ),
    'SSD': _case(SSDAssigner(), reference.ssd),
    'ATSS': _case(ATSSAssigner(topk=9), reference.atss, may_skip=True, exact_ties=False),
    'DDOD': _case(
        ATSSAssigner(topk=9, alpha=0.8), reference.atss, 9, 0.8, may_skip=True, exact_ties=False
    ),
    'BatchATSS': _case(
        BatchATSSAssigner(topk=9), reference.batch_atss, may_skip=True, exact_ties=False
    ),
    'Grid': _case(GridAssigner(0.5, 0.5), reference.grid_assigner, 0.5, 0.5, ordered=True),
    'Uniform': _case(
        UniformAssigner(0.15, 0.7),
        reference.uniform,
        0.15,
        0.7,
        may_skip=True,
        ordered=True,
        exact_ties=False,
    ),
    'Point': _case(PointAssigner(pos_num=3), reference.point, exact_ties=False),
    'YOLOV1': _case(YOLOV1Assigner(), reference.yolov1),
    'YOLOV3': _case(YOLOV3Assigner(), reference.yolov3),
    'YOLOV5': _case(YOLOV5Assigner(), reference.yolov5, may_skip=True),
    'FCOS': _case(FCOSAssigner(), reference.fcos, may_skip=True),
    'FCOS centre': _case(
        FCOSAssigner(center_sampling=True), reference.fcos, center_sampling=True, may_skip=True
    ),
    'CenterNet': _case(CenterNetAssigner(), reference.centernet),
    'Gaussian': _case(GaussianAssigner(sigma=1.5), reference.gaussian, 1.5),
    'Gaussian unbiased': _case(
        GaussianAssigner(unbiased=True, level_rule='scale'),
        reference.gaussian,
        unbiased=True,
        level_rule='scale',
    ),
    'OTA': _case(OTAAssigner(), reference.ota, may_skip=True),
    'TaskAligned': _case(TaskAlignedAssigner(), reference.task_aligned, may_skip=True),
    'TaskAligned small': _case(
        TaskAlignedAssigner(inside_first=True, min_positives=3, min_gt_size=16),
        reference.task_aligned,
        inside_first=True,
        min_positives=3,
        min_gt_size=16,
    ),
    'BatchTaskAligned': _case(
        BatchTaskAlignedAssigner(), reference.task_aligned, inside_first=True, may_skip=True
    ),
    'Hungarian': Case(HungarianAssigner()),
    'PAA': _case(PAAAssigner(), reference.max_iou, 0.1, 0.1, ordered=True),
    'SimOTA': _case(SimOTAAssigner(), reference.simota),
    'DynamicSoftLabel': _case(
        DynamicSoftLabelAssigner(), reference.dynamic_soft_label, may_skip=True
    ),
    'ApproxMaxIoU': _case(
        ApproxMaxIoUAssigner(0.5, 0.4, approx_scales=(0.5, 1.0), approx_ratios=(1.0, 2.0)),
        reference.approx_max_iou,
        0.5,
        0.4,
        (0.5, 1.0),
        (1.0, 2.0),
        ordered=True,
    ),
    'CenterRegion': _case(
        CenterRegionAssigner(0.2, 0.5),
        reference.center_region,
        0.2,
        0.5,
        may_skip=True,
        ordered=True,
    ),
    'Region': _case(
        RegionAssigner(anchor_scale=2),
        reference.region,
        anchor_scale=2,
        may_skip=True,
        ordered=True,
    ),
    'TopkHungarian': Case(TopkHungarianAssigner(3)),
    'BatchDynamicSoftLabel': _case(
        BatchDynamicSoftLabelAssigner(), reference.batch_dynamic_soft_label, may_skip=True
    ),
}
