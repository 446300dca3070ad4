"""Which parameters of a head one step has nothing to teach."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...heads import LossInputs


def idle_parameters(head: nn.Module, found: LossInputs) -> tuple[str, ...]:
    """Beginnings of the names of parameters that one level alone reads, for nothing to learn.

    Boxes and centreness are learnt by positives: on a level without any, what only they
    read gets no gradient; nor does a level whose priors a sampler has all set aside, nor its
    classes where an asymmetric loss takes negatives below its margin for solved.
    """
    assigned, level_ids = found.assignment, found.priors.level_ids
    positive = set(level_ids[assigned.prior].tolist())
    active = set(level_ids.expand_as(assigned.ignored)[~assigned.ignored].tolist())
    own = type(head).__name__ == 'SSDHead'
    charged = active
    terms: Any = getattr(head, 'loss_terms', ())
    reader: Any = getattr(head, 'reader', None)
    for term in terms:
        if type(term.loss).__name__ != 'AsymmetricLoss' or term.kind == 'centerness':
            continue
        if term.kind == 'objectness':
            probability = reader.factors(found.output)
        elif hasattr(head, 'cls_convs') or hasattr(head, 'cls_stems'):
            probability = reader.scores(found.output).amax(-1)
        else:
            continue
        hard = (probability > term.loss.clip) & ~assigned.ignored
        charged = positive | set(level_ids.expand_as(hard)[hard].tolist())
    idle = []
    for level in range(len(found.priors.level_sizes)):
        for name, used in (('reg_convs', level in positive), ('cls_convs', level in charged)):
            if not used:
                idle += [f'{name}.{level}.'] if own else [f'{name}.0.norms.{level}.']
        if not own:
            # Shared convolutions, a norm a level (RTMDet).
            for name, used in (('reg_convs', level in positive), ('cls_convs', level in charged)):
                idle += [] if used else [f'{name}.{level}.{i}.bn.' for i in range(4)]
        if level not in positive:
            # YOLOX charges negatives with objectness alone; it stands beside the boxes.
            idle += [f'multi_level_cls_convs.{level}.', f'multi_level_conv_cls.{level}.']
            idle += [f'multi_level_conv_reg.{level}.', f'rtm_reg.{level}.']
            idle += [f'reg_stems.{level}.', f'pred_reg.{level}.']
        if level not in positive:
            idle.append(f'scales.{level}.')
        if level not in charged:
            idle += [f'multi_level_reg_convs.{level}.', f'multi_level_conv_obj.{level}.']
            idle.append(f'rtm_cls.{level}.')
            idle += [f'cls_stems.{level}.', f'pred_cls.{level}.']
            idle += [f'convs_bridge.{level}.', f'convs_pred.{level}.']
            idle.append(f'head_module.convs_pred.{level}.')
    return tuple(idle)
