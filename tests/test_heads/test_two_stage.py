"""The two-stage head: proposals as priors, what is sampled and pooled, and which parts pair."""

import copy
import math

import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.config import check_config, translate_config
from registry_losses.errors import ConfigError, PairingError
from registry_losses.heads import Proposals, evaluate_terms
from registry_losses.heads.proposals import chosen_priors, proposal_priors, roi_levels, with_gts
from registry_losses.registry import MODELS
from registry_losses.structures import (
    Assignment,
    DetDataSample,
    GroundTruth,
    HeadOutput,
    Priors,
    SoftEntries,
)

CLASSES = 4
SIZE = 64


def small_config(**roi):
    """A small Faster R-CNN; ``roi`` changes its bbox head."""
    max_iou = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5)
    return dict(
        type='TwoStageDetector',
        backbone=dict(type='TinyNet', widths=(8, 16, 24), depths=(0, 0, 0)),
        neck=dict(type='FPN', in_channels=[8, 16, 24], out_channels=8, num_outs=3),
        rpn_head=dict(
            type='RPNHead',
            in_channels=8,
            feat_channels=8,
            prior_generator=dict(
                type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16]
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss'),
        ),
        roi_head=dict(
            type='RoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=3),
                out_channels=8,
                featmap_strides=[4, 8],
                finest_scale=16,
            ),
            bbox_head={
                **dict(
                    type='Shared2FCBBoxHead',
                    in_channels=8,
                    fc_out_channels=16,
                    roi_feat_size=3,
                    num_classes=CLASSES,
                ),
                **roi,
            },
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3
                ),
                sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5),
            ),
            rpn_proposal=dict(nms_pre=100, max_per_img=40, nms=dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(
                assigner=dict(max_iou, match_low_quality=False),
                sampler=dict(type='RandomSampler', num=16, pos_fraction=0.5),
            ),
        ),
        test_cfg=dict(
            rpn=dict(nms_pre=100, max_per_img=40, nms=dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
        ),
    )


def samples(counts, size=SIZE):
    """As many images as ``counts``, each with so many gts."""
    out = []
    for image, count in enumerate(counts):
        generator = torch.Generator().manual_seed(image)
        low = torch.rand(count, 2, generator=generator) * size / 2
        sides = 8 + torch.rand(count, 2, generator=generator) * (size / 2 - 8)
        shape = (size, size)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, img_id=image)
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat((low, low + sides), dim=1), labels=torch.arange(count) % CLASSES
        )
        out.append(sample)
    return out


def images(count, size=SIZE):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(7))


def losses_and_gradients(model, counts):
    model.train().zero_grad()
    losses = model(images(len(counts)), samples(counts), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for name, value in losses.items():
        assert torch.isfinite(value), name
    return losses


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = MODELS.build(small_config())
    built.init_weights()
    return built


# Proposals --------------------------------------------------------------------------------


def test_level_of_a_region_by_its_side():
    sides = torch.tensor([0.0, 31.9, 32.1, 63.9, 64.1, 4000.0])
    boxes = torch.stack((sides * 0, sides * 0, sides, sides), dim=1)
    assert roi_levels(boxes, 3, 16).tolist() == [0, 0, 1, 1, 2, 2]
    assert roi_levels(boxes.flip(1), 3, 16).tolist() == [0] * 6  # turned inside out


def test_proposals_are_priors_without_a_grid():
    boxes = [torch.tensor([[0.0, 0, 10, 10], [0, 0, 50, 50]]), torch.zeros(0, 4)]
    proposals = Proposals.of([InstanceData(bboxes=each) for each in boxes])
    priors = proposal_priors(proposals, [4, 8], 16)
    assert priors.levels == () and priors.boxes.shape == (2, 2, 4)
    assert priors.valid.tolist() == [[True, True], [False, False]]
    assert priors.strides[0].tolist() == [[4, 4], [8, 8]]
    assert priors.level_sizes == (2,)
    gt = GroundTruth.from_lists(
        [torch.tensor([[1.0, 1, 5, 5]])] * 2, [torch.zeros(1).long()] * 2, [(64, 64)] * 2
    )
    both = with_gts(proposals, gt)
    assert both.valid.tolist() == [[True, True, True], [True, False, False]]
    assert both.boxes[1, 0].tolist() == [1, 1, 5, 5]


def test_chosen_priors_keep_every_pair_and_nothing_ignored():
    boxes = torch.arange(2 * 5 * 4.0).reshape(2, 5, 4)
    priors = Priors(boxes, torch.ones(2, 5, 2))
    ignored = torch.tensor([[1, 0, 1, 0, 0], [1, 1, 1, 0, 1]]).bool()
    pairs = Assignment(
        image=torch.tensor([0, 1]),
        prior=torch.tensor([3, 3]),
        gt=torch.tensor([1, 0]),
        ignored=ignored,
        soft=SoftEntries(*(torch.tensor([v]) for v in (0, 4, 2)), torch.tensor([0.5])),
    )
    fewer, mapped = chosen_priors(priors, pairs)
    assert fewer.boxes.shape == (2, 3, 4)
    assert torch.equal(fewer.boxes[0], boxes[0, [1, 3, 4]])
    assert torch.equal(fewer.boxes_at(mapped.image, mapped.prior), boxes[[0, 1], [3, 3]])
    assert mapped.ignored.tolist() == [[False] * 3, [False, True, True]]
    assert torch.equal(fewer.boxes[0, mapped.soft.prior[0]], boxes[0, 4])


def test_every_dense_head_can_propose():
    config = small_config()
    config['rpn_head'] = dict(
        config['rpn_head'],
        type='RetinaHead',
        stacked_convs=1,
        loss_cls=dict(type='FocalLoss'),
    )
    model = MODELS.build(config)
    losses = losses_and_gradients(model, [3, 2])
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'} < set(losses)


# Losses and gradients ---------------------------------------------------------------------


@pytest.mark.parametrize('counts', [(3, 2), (0, 2), (0, 0), (60, 1)])
def test_gradients_reach_every_parameter(model, counts):
    """With gts, without, and with more gts than proposals."""
    losses_and_gradients(model, counts)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    if sum(counts):
        for name, parameter in model.roi_head.named_parameters():
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize('assigner', ['MaxIoUAssigner', 'SimOTAAssigner'])
def test_no_proposal_and_no_gt(model, assigner):
    """Nothing to pool: the losses are 0 and every parameter still has a gradient."""
    config = small_config()
    if assigner != 'MaxIoUAssigner':
        config['train_cfg']['rcnn']['assigner'] = dict(type=assigner)
    head = MODELS.build(config).roi_head
    feats = [torch.randn(2, 8, SIZE // s, SIZE // s, requires_grad=True) for s in (4, 8, 16)]
    gt = GroundTruth.from_data_samples(samples([0, 0]))
    nothing = Proposals.of([InstanceData(bboxes=torch.zeros(0, 4))] * 2)
    losses = head.loss(feats, nothing, gt)
    sum(losses.values()).backward()
    assert all(float(value.detach()) == 0 for value in losses.values())
    for name, parameter in [*head.named_parameters(), *zip('01', feats)]:
        assert parameter.grad is not None and not parameter.grad.any(), name
    assert [
        len(found) for found in head.predict(feats, nothing, [dict(img_shape=(64, 64))] * 2)
    ] == [0, 0]


def test_images_without_proposals_learn_from_their_gts(model):
    head = model.roi_head
    feats = [torch.randn(2, 8, SIZE // s, SIZE // s) for s in (4, 8, 16)]
    gt = GroundTruth.from_data_samples(samples([3, 0]))
    nothing = Proposals.of([InstanceData(bboxes=torch.zeros(0, 4))] * 2)
    inputs = head.loss_inputs(feats, nothing, gt)
    assert inputs.assignment.num_pairs == 3
    assert (~inputs.assignment.ignored).sum(1).tolist() == [3, 0]


@pytest.mark.parametrize('agnostic', [False, True])
def test_losses_by_hand(agnostic):
    """Both divided by all samples; the box of the gt's class, or the one there is."""
    torch.manual_seed(1)
    model = MODELS.build(small_config(reg_class_agnostic=agnostic))
    head = model.roi_head
    feats = [torch.randn(1, 8, SIZE // s, SIZE // s) for s in (4, 8, 16)]
    gt = GroundTruth.from_data_samples(samples([2]))
    boxes = torch.cat((gt.boxes[0] + 1, torch.tensor([[0.0, 50, 8, 58], [50, 0, 60, 9]])))
    proposals = Proposals.of([InstanceData(bboxes=boxes)])
    inputs = head.loss_inputs(feats, proposals, gt)
    losses = evaluate_terms(head.loss_terms, inputs)
    rois = torch.cat((gt.boxes[0], boxes))
    pooled = head.bbox_roi_extractor(feats, torch.cat((torch.zeros(6, 1), rois), dim=1))
    logits, codes = head.bbox_head(pooled)
    labels = torch.tensor([0, 1, 0, 1, CLASSES, CLASSES])
    wanted = -logits.log_softmax(1)[torch.arange(6), labels].sum() / 6
    assert losses['loss_cls'].item() == pytest.approx(wanted.item(), rel=1e-5)
    own = codes[:4] if agnostic else codes[:4].view(4, CLASSES, 4)[torch.arange(4), labels[:4]]
    target = head.bbox_coder.encode(rois[:4], gt.boxes[0].repeat(2, 1))
    difference = (own - target).abs()
    smooth = torch.where(difference < 1, difference**2 / 2, difference - 0.5).sum() / 6
    assert losses['loss_bbox'].item() == pytest.approx(smooth.item(), rel=1e-5)


def test_sampling_before_pooling_changes_nothing(model):
    """The same choice after all regions were pooled gives the same losses."""
    head, counts = model.roi_head, [4, 3]
    feats = [torch.randn(2, 8, SIZE // s, SIZE // s) for s in (4, 8, 16)]
    gt = GroundTruth.from_data_samples(samples(counts))
    generator = torch.Generator().manual_seed(3)
    low = torch.rand(2, 30, 2, generator=generator) * 40
    boxes = torch.cat((low, low + 8 + torch.rand(2, 30, 2, generator=generator) * 20), dim=2)
    proposals = Proposals.of([InstanceData(bboxes=each) for each in boxes])
    inputs = head.loss_inputs(feats, proposals, gt, image_ids=[5, 9])
    before = evaluate_terms(head.loss_terms, inputs)
    assert inputs.priors.num_priors == 16 and inputs.assignment.num_pairs > 0
    pooled: list[int] = []
    head.bbox_roi_extractor.register_forward_pre_hook(lambda _, args: pooled.append(len(args[1])))
    # Asking for predictions makes the head pool everything first.
    head.assigner.needs = frozenset({'predictions'})
    after = head.loss(feats, proposals, gt, image_ids=[5, 9])
    assert pooled == [int(with_gts(proposals, gt).valid.sum())]
    for name, value in before.items():
        torch.testing.assert_close(after[name], value)


@pytest.mark.parametrize(
    'sampler', ['OHEMSampler', 'IoUBalancedNegSampler', 'PseudoSampler', 'HardNegativeSampler']
)
def test_samplers_by_name(sampler):
    config = small_config()
    budget = (
        {}
        if sampler in ('PseudoSampler', 'HardNegativeSampler')
        else dict(num=16, pos_fraction=0.5)
    )
    for part in ('rpn', 'rcnn'):
        config['train_cfg'][part]['sampler'] = dict(type=sampler, **budget)
    losses_and_gradients(MODELS.build(config), [3, 2])


LOSSES = [
    dict(loss_cls=dict(type='FocalLoss')),
    dict(loss_cls=dict(type='FocalLoss', activation='softmax')),
    dict(loss_cls=dict(type='SeesawLoss', num_classes=CLASSES)),
    dict(loss_cls=dict(type='QualityFocalLoss')),
    dict(loss_bbox=dict(type='GIoULoss')),
    dict(loss_bbox=dict(type='GIoULoss'), reg_class_agnostic=True),
    dict(
        type='Shared4Conv1FCBBoxHead', conv_out_channels=8, norm_cfg=dict(type='GN', num_groups=2)
    ),
    dict(
        type='ConvFCBBoxHead',
        num_cls_fcs=1,
        num_reg_convs=1,
        conv_out_channels=8,
        with_avg_pool=True,
    ),
]


@pytest.mark.parametrize('changes', LOSSES, ids=lambda c: '-'.join(str(v) for v in c)[:40])
def test_losses_and_layers_by_name(changes):
    """Each trains: the losses fall, gradients reach the whole head, detections come out."""
    torch.manual_seed(0)
    model = MODELS.build(small_config(**copy.deepcopy(changes)))
    model.init_weights()
    optimizer = torch.optim.Adam(model.roi_head.parameters(), lr=3e-3)
    first = last = math.nan
    for _ in range(8):
        losses = losses_and_gradients(model, [3, 2])
        last = float(losses['loss_cls'].detach() + losses['loss_bbox'].detach())
        first = last if math.isnan(first) else first
        assert all(p.grad.abs().sum() > 0 for p in model.roi_head.parameters())
        optimizer.step()
    assert last < first
    found = model.eval()(images(2), samples([3, 2]), mode='predict')
    for sample in found:
        scores = sample.pred_instances.scores
        assert len(scores) and ((scores >= 0) & (scores <= 1)).all()
        assert (scores[1:] <= scores[:-1]).all()
        boxes = sample.pred_instances.bboxes
        assert (boxes >= 0).all() and (boxes <= SIZE).all()


def test_the_box_of_the_best_class_is_what_assigners_see(model):
    head = model.roi_head
    priors = Priors(torch.tensor([[[0.0, 0, 8, 8]]]), torch.ones(1, 1, 2) * 4)
    logits = torch.tensor([[[0.0, 3, 1, 0, 5]]])
    codes = torch.zeros(1, 1, CLASSES, 4)
    codes[0, 0, 1, 0] = 10  # one side, by the coder's 0.1
    output = HeadOutput.of({'cls': logits, 'bbox': codes.flatten(2)})
    seen = head.reader.predictions(output, priors)
    assert seen.boxes[0, 0].tolist() == [8, 0, 16, 8]
    assert seen.scores.shape == (1, 1, CLASSES)


def test_raw_outputs_for_tools(model):
    maps, output = model.eval()(images(2), mode='tensor')
    assert len(maps[0]) == 3 and output['cls'].shape[-1] == CLASSES + 1


# What goes together -----------------------------------------------------------------------


@pytest.mark.parametrize('assigner', ['YOLOV5Assigner', 'CenterNetAssigner'])
def test_grid_assigners_are_refused_on_proposals(assigner):
    config = small_config()
    config['train_cfg']['rcnn']['assigner'] = dict(type=assigner)
    with pytest.raises(PairingError, match='RoIHead'):
        MODELS.build(config)


def test_distributions_are_refused_without_bins():
    with pytest.raises(PairingError, match='bins'):
        MODELS.build(small_config(loss_bbox=dict(type='DistributionFocalLoss')))


def test_settings_that_nothing_reads_are_refused():
    config = small_config()
    config['train_cfg']['rcn'] = {}
    with pytest.raises(ConfigError, match=r'train_cfg\.rcn\b'):
        MODELS.build(config)
    for part, key in (('rpn', 'smapler'), ('rcnn', 'nms_pre'), ('rpn_proposal', 'sampler')):
        config = small_config()
        config['train_cfg'][part][key] = None
        with pytest.raises(ConfigError, match=rf'model\.train_cfg\.{part}\.{key}'):
            check_config(dict(model=config))


def test_openmmlab_names_are_translated():
    """FasterRCNN, StandardRoIHead and the keys of their settings, as OpenMMLab writes them."""
    from mmengine.config import Config

    config = small_config(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'))
    config['type'], config['roi_head']['type'] = 'FasterRCNN', 'StandardRoIHead'
    config['train_cfg']['rpn'].update(pos_weight=-1, debug=False, allowed_border=-1)
    config['train_cfg']['rcnn'].update(pos_weight=-1, debug=False)
    config['train_cfg']['rcnn']['mask_size'] = 28
    config['roi_head']['bbox_head']['cls_predictor_cfg'] = dict(type='Linear')
    cfg = Config(dict(model=config))
    translate_config(cfg)
    check_config(cfg)
    model = MODELS.build(cfg.model)
    assert type(model).__name__ == 'TwoStageDetector'
    assert [term.kind for term in model.roi_head.loss_terms] == ['classification', 'box_decoded']
    cfg.model.roi_head.mask_head = dict(type='FCNMaskHead')
    with pytest.raises(ConfigError, match='instance masks'):
        translate_config(cfg)
