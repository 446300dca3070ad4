"""The arguments that every dense head takes, written once.

A head names its own arguments and passes these on::

    def __init__(self, num_classes, in_channels, *, feat_channels=256,
                 **common: Unpack[BoxHeadOptions]) -> None:
        super().__init__(num_classes, in_channels, **common)

An unknown key still fails by name, when the config is read and when a head is called.
"""

from collections.abc import Mapping
from typing import Any

from typing_extensions import NotRequired, TypedDict


class DenseHeadOptions(TypedDict):
    """What :class:`DenseHead` takes beside the classes and channels.

    Attributes:
        prior_generator: Config node or object that makes the priors.
        bbox_coder: Config node or object between boxes and what the head predicts.
        loss_cls: Classification loss. A softmax loss gives the head a background class.
        loss_terms: Changes to the loss terms, by name:
            ``dict(loss_cls=dict(normalizer='quality_sum'))``.
        train_cfg: ``assigner``, ``sampler``, ``allowed_border``.
        test_cfg: ``nms_pre``, ``score_thr``, ``min_bbox_size``, ``nms``, ``max_per_img``.
    """

    prior_generator: Any
    bbox_coder: Any
    loss_cls: Any
    loss_terms: NotRequired[Mapping[str, Mapping] | None]
    train_cfg: NotRequired[Mapping | None]
    test_cfg: NotRequired[Mapping | None]


class BoxHeadOptions(DenseHeadOptions):
    """:class:`DenseHeadOptions` of a head that has one box loss.

    Attributes:
        loss_bbox: Box loss, on encoded or decoded boxes as its kind says.
    """

    loss_bbox: Any
