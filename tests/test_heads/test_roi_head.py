"""The RoI head: what is sampled and pooled, its losses by hand, what it refuses."""

import pytest
import torch
from mmengine.structures import InstanceData
from small_two_stage import CLASSES, SIZE, losses_and_gradients, samples, small_config

from registry_losses.errors import PairingError
from registry_losses.heads import Proposals, evaluate_terms
from registry_losses.heads.proposals import with_gts
from registry_losses.registry import MODELS
from registry_losses.structures import GroundTruth, HeadOutput, Priors


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = MODELS.build(small_config())
    built.init_weights()
    return built


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


@pytest.mark.parametrize('assigner', ['YOLOV5Assigner', 'CenterNetAssigner'])
def test_grid_assigners_are_refused_on_proposals(assigner):
    config = small_config()
    config['train_cfg']['rcnn']['assigner'] = dict(type=assigner)
    with pytest.raises(PairingError, match='RoIHead'):
        MODELS.build(config)
