"""What a pairing of parts has to do: positives, gradients, losses that fall.

Shapes: B images, N priors, K pairs.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ...errors import ShapeError
from ...heads import LossInputs, evaluate_terms
from ...heads.terms.evaluation import unchanged_buffers
from ...registry import MODELS
from ...structures import Assignment
from ...structures.loss_term import BOX_KINDS
from .detectors import build
from .idle import idle_parameters
from .subjects import Subject


@dataclass
class Findings:
    """What a pairing did.

    Args:
        problems: What is wrong with it, for people; empty if nothing is.
        positives: Pairs of each image before training.
        before: Each term at the start, against the targets of the end.
        after: Each term at the end.
    """

    problems: list[str] = field(default_factory=list)
    positives: list[int] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)


# Steps and rates, the next where a term did not fall: one of large gradients carries the
# others away at first, and a slow one needs time.
PACES = ((8, 3e-3), (40, 1e-3), (120, 1e-3))
# A loss below which there is nothing to learn.
NOTHING_LEFT = 1e-4


def problems_of(config: Mapping[str, Any], *, head: str | None = None) -> list[str]:
    """What is wrong with a pairing of parts; see :func:`examine`."""
    return examine_patiently(config, head=head).problems


def examine_patiently(config: Mapping[str, Any], *, head: str | None = None) -> Findings:
    """:func:`examine` at the first of the :data:`PACES` at which every term falls."""
    for steps, rate in PACES:
        found = examine(config, head=head, steps=steps, rate=rate)
        if not (found.after and found.problems):
            break
    return found


def examine(
    config: Mapping[str, Any], *, head: str | None = None, steps: int = 8, rate: float = 3e-3
) -> Findings:
    """Train a pairing for some steps on a fixed batch.

    Positives in every image, every loss finite, a gradient in every parameter of the head
    and of every term of its own, ignore regions that charge nothing, a graph through every
    parameter without gts, and lower losses after some steps.

    Args:
        config: Node of a small detector.
        head: Attribute of the detector that is looked at; its only head, or the last.
        steps: Of training.
        rate: Learning rate of Adam.

    Raises:
        PairingError: If the parts cannot work together.
    """
    model = build(config)
    before, after = Subject.of(copy.deepcopy(model), head), Subject.of(model, head)
    scene, found = after.scenes.plain, Findings()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        losses = after.losses(scene)
        if not all(bool(torch.isfinite(value)) for value in losses.values()):
            found.problems = [f'step {step}: {losses}']
            return found
        optimizer.zero_grad()
        total_of(losses).backward()
        if step == 0:
            found.problems = first_step_problems(after, losses, found)
            if found.problems:
                return found
        optimizer.step()
    # Assigners that look at predictions, and hard negatives, move the targets: compared
    # is what the steps did for those of the end.
    last = after.loss_inputs(scene)
    found.before, found.after = fixed_losses(before, last), fixed_losses(after, last)
    if falling_problems(found):
        plain = [fixed_losses(subject, last, plainly=True) for subject in (before, after)]
        for name, value in plain[1].items():
            if value < plain[0][name]:
                found.before[name], found.after[name] = plain[0][name], value
    found.problems = falling_problems(found) or empty_problems(after)
    found.problems += class_weight_problems(after, config)
    return found


def value_of(term: Any, inputs: LossInputs) -> Tensor:
    """One term, its parts summed where it has several (pull and push)."""
    return total_of(evaluate_terms([term], inputs))


def total_of(losses: Mapping[str, Tensor]) -> Tensor:
    """What a step goes down."""
    return torch.stack(list(losses.values())).sum()


def falling_problems(found: Findings) -> list[str]:
    """Every term has to fall, or to stay where there is nothing to learn.

    A region that is its gt already has no more to learn.
    """
    return [
        f'{name} did not fall: from {value:.5g} to {found.after[name]:.5g}'
        for name, value in found.before.items()
        if not found.after[name] < max(value, NOTHING_LEFT)
    ]


def fixed_losses(subject: Subject, last: LossInputs, *, plainly: bool = False) -> dict[str, float]:
    """Each term of a head against the targets of ``last``: its pairs, and their overlaps."""
    found, losses = subject.inputs_at(subject.scenes.plain, last), {}
    for term in subject.head.loss_terms:
        pairs = last.pairs(term)
        # Terms that see one gt a prior choose it again, from the same pairs.
        own = _beside(found, last, pairs)
        if plainly:
            term = replace(term, loss=plain_of(term.loss))
        losses[term.name] = float(value_of(term, own).detach())
    return losses


@dataclass(frozen=True, eq=False)
class _OfLastStep:
    """Outputs of one step beside the pairs, overlaps and scores of another.

    Terms that learn the overlap of the prediction, or are weighted by it, then have the
    same targets and weights before and after.
    """

    last: Any = None

    def overlaps_at(self, branch: str, pairs: Assignment, mode: str) -> Tensor:
        """Those of the last step."""
        return self.last.overlaps_at(branch, pairs, mode)

    def best_scores_at(self, pairs: Assignment) -> Tensor:
        """Those of the last step."""
        return self.last.best_scores_at(pairs)


@cache
def _of_last_step(kind: type) -> type:
    """The inputs of a kind of head, as :class:`_OfLastStep` reads them."""
    return dataclass(frozen=True, eq=False)(type(kind.__name__, (_OfLastStep, kind), {}))


def _beside(found: LossInputs, last: LossInputs, pairs: Assignment) -> LossInputs:
    """The outputs of ``found`` with the pairs of ``last``."""
    own = {each.name: getattr(found, each.name) for each in fields(found)}
    return _of_last_step(type(found))(  # type: ignore[arg-type]
        **{**own, 'assignment': pairs, '_cache': {}}, last=last
    )


def plain_of(loss: Any) -> Any:
    """What a loss weighs by its own state of learning; any other loss as it is.

    Gradient harmonised losses weigh each error by how many are like it, focal EIoU by the
    overlap reached, version 2 of powerful IoU by a weight that rises before it falls,
    Wise-IoU by how far a box lies from the mean of all: their values may rise while every
    error falls.
    """
    plain: dict[str, dict[str, Any]] = {
        'GHMC': dict(type='CrossEntropyLoss', use_sigmoid=True),
        'GHMR': dict(type='L1Loss'),
        'FocalEIoULoss': dict(type='EIoULoss'),
        'PowerfulIoULoss': dict(type='PowerfulIoULoss', version='v1'),
        'WiseIoULoss': dict(type='WiseIoULoss', version='v1'),
    }
    node = plain.get(type(loss).__name__)
    return loss if node is None else MODELS.build(node)


def first_step_problems(
    subject: Subject, losses: Mapping[str, Tensor], findings: Findings | None = None
) -> list[str]:
    """Images without positives; parameters and terms without a gradient."""
    head, problems = subject.head, []
    found = subject.loss_inputs(subject.scenes.plain)
    names = subject.names(evaluate_terms(head.loss_terms, found))
    if [name for name in losses if name in names] != names:
        problems.append(f'losses {list(losses)}, terms {names}')
    counts = torch.bincount(found.assignment.image, minlength=found.gt.batch_size).tolist()
    if findings is not None:
        findings.positives = counts
    if not all(counts):
        problems.append(f'no positives in an image: {counts}')
    idle = idle_parameters(head, found)
    for name, parameter in head.named_parameters():
        expected = not name.startswith(idle)
        grad = parameter.grad
        if grad is None or not torch.isfinite(grad).all():
            problems.append(f'{name}: no finite gradient')
        elif bool(grad.abs().sum() > 0) != expected:
            problems.append(f'{name}: gradient {"zero" if expected else "although idle"}')
    for term in head.loss_terms:
        loss = value_of(term, found)
        branch = found.output[term.branch]
        grad = torch.autograd.grad(loss, branch, retain_graph=True, allow_unused=True)[0]
        if grad is None or not grad.abs().sum() > 0:
            problems.append(f'{term.name}: no gradient of its own')
    return problems or ignore_problems(subject) + weight_problems(head, found)


def ignore_problems(subject: Subject) -> list[str]:
    """Priors in an ignore region that are in no pair are charged by no term."""
    found = subject.loss_inputs(subject.scenes.ignoring)
    assignment, head = found.assignment, subject.head
    paired = torch.zeros_like(assignment.ignored)
    paired[assignment.image, assignment.prior] = True
    centers = found.priors.centers.expand(found.gt.batch_size, -1, 2)
    region = found.gt.ignore_boxes[:, :1]
    inside = (centers > region[..., :2]).all(-1) & (centers < region[..., 2:]).all(-1)
    free = inside & ~paired
    if bool((free & ~assignment.ignored).any()):
        return ['priors in an ignore region count as negatives']
    return [
        f'{term.name}: charges ignored priors'
        for term in head.loss_terms
        # Tags are read where the joints themselves are.
        if term.kind != 'embedding' and _charged(term, found, free)
    ]


def weight_problems(head: Any, found: LossInputs) -> list[str]:
    """The weight of a gt multiplies its terms: none at 0, the box terms threefold at 3."""
    pairs, gt = found.assignment, found.gt
    first = torch.stack([(pairs.image == i).nonzero()[0, 0] for i in range(gt.batch_size)])
    chosen = torch.zeros_like(gt.valid)
    chosen[pairs.image[first], pairs.gt[first]] = True
    weights = torch.where(chosen, 0.0, 1.0)
    without = replace(found, gt=replace(gt, weights=weights), _cache={})
    threefold = replace(found, gt=replace(gt, weights=torch.full_like(weights, 3)), _cache={})
    # Priors of the chosen gts that serve no other gt.
    rows = torch.zeros(pairs.ignored.shape, dtype=torch.bool)
    mine = chosen[pairs.image, pairs.gt]
    rows[pairs.image[mine], pairs.prior[mine]] = True
    rows[pairs.image[~mine], pairs.prior[~mine]] = False
    problems = []
    for term in head.loss_terms:
        # Tags and fields belong to persons, whose joints are many gts.
        own = term.kind not in ('embedding', 'field') and not getattr(term, 'background', False)
        if own and _charged(term, without, rows):
            problems.append(f'{term.name}: charges gts of weight 0')
        if term.kind in BOX_KINDS and 'GHM' not in type(term.loss).__name__:
            # A copy each, since some losses keep a running mean.
            one, three = (
                float(value_of(replace(term, loss=copy.deepcopy(term.loss)), i).detach())
                for i in (found, threefold)
            )
            if abs(three - 3 * one) > 1e-3 * abs(one):
                problems.append(f'{term.name}: {one:.5g} at weight 1, {three:.5g} at weight 3')
    return problems


def class_weight_problems(subject: Subject, config: Mapping[str, Any]) -> list[str]:
    """Class weights of two raise the class term, where the loss takes class weights."""
    head, own = subject.head, getattr(subject.holder, 'loss_cls', None)
    node: Any = config.get(subject.attribute, {})
    node = node.get('bbox_head', node).get('loss_cls')
    term = next((t for t in head.loss_terms if t.loss is own), None)
    if not isinstance(node, Mapping) or term is None:
        return []
    if 'class_weight' not in inspect.signature(type(term.loss).__init__).parameters:
        return []
    given = dict(copy.deepcopy(dict(node)))
    try:
        loss = MODELS.build(dict(given, class_weight=[2.0] * head.cls_out_channels))
    except ShapeError:  # Seesaw's weights are of classes, without the background
        loss = MODELS.build(dict(given, class_weight=[2.0] * head.num_classes))
    loss.load_state_dict(term.loss.state_dict())  # what it has counted in training
    found = subject.loss_inputs(subject.scenes.plain)
    with torch.no_grad(), unchanged_buffers(term.loss):
        plain = float(value_of(term, found))
        double = float(value_of(replace(term, loss=loss), found))
    # Of BCE they are weights of the positives, as in OpenMMLab: less than double.
    if plain * 1.001 < double < plain * 2.001:
        return []
    return [f'{term.name}: {plain:.5g} with class weights of 1, {double:.5g} with those of 2']


def _charged(term: Any, found: LossInputs, rows: Tensor) -> bool:
    """Whether a term has a gradient at some priors ``(B, N)``."""
    branch = found.output[term.branch]
    if branch.shape[-3:-1] != rows.shape:
        return False  # priors that share a class vector (YOLOv1)
    loss = value_of(term, found)
    grad = torch.autograd.grad(loss, branch, retain_graph=True, allow_unused=True)[0]
    return grad is not None and bool(grad[..., rows, :].abs().sum() > 0)


def empty_problems(subject: Subject) -> list[str]:
    """A batch without gts: finite losses, and a graph through every parameter."""
    model = subject.model
    model.zero_grad()
    losses = subject.losses(subject.scenes.empty)
    total_of(losses).backward()
    problems = [f'{k} without gts: {v}' for k, v in losses.items() if not torch.isfinite(v)]
    for name, parameter in model.named_parameters():
        if parameter.grad is None or not torch.isfinite(parameter.grad).all():
            problems.append(f'{name} without gts: no finite gradient')
    return problems
