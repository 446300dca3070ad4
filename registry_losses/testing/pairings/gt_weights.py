"""Whether weights of single gts reach the losses of a pairing."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from ...heads import LossInputs, evaluate_terms
from ...heads.terms.evaluation import unchanged_buffers
from ...structures.loss_term import BOX_KINDS


def gt_weight_problems(terms: Any, found: LossInputs) -> list[str]:
    """Weights of 1 change nothing; of 2 some loss; of 0 no box term charges anything.

    Args:
        terms: The head's loss terms.
        found: A step with positives.
    """

    def losses(weight: float | None) -> dict[str, float]:
        gt = found.gt
        if weight is not None:
            gt = replace(gt, weights=torch.full_like(gt.labels, weight, dtype=torch.float32))
        with torch.no_grad(), ExitStack() as stack:
            for term in terms:
                stack.enter_context(unchanged_buffers(term.loss))
            values = evaluate_terms(terms, replace(found, gt=gt, _cache={}))
        return {name: float(value) for name, value in values.items()}

    plain, none, one, two = losses(None), losses(0.0), losses(1.0), losses(2.0)
    problems = [
        f'{name}: {value:.5g}, and {one[name]:.5g} with gt weights of 1'
        for name, value in plain.items()
        if abs(one[name] - value) > 1e-4 * max(abs(value), 1e-3)
    ]
    problems += [
        f'{term.name}: {none[term.name]:.5g} with gt weights of 0'
        for term in terms
        if term.kind in BOX_KINDS and abs(none[term.name]) > 1e-6
    ]
    if all(abs(two[name] - value) <= 1e-6 * max(abs(value), 1e-3) for name, value in one.items()):
        problems.append(f'gt weights of 2 change no loss: {one}')
    return problems
