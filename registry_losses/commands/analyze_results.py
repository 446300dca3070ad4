"""``tools/analyze_results.py``: what a detector gets wrong, as pictures and one page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cli import add_cfg_options, run_command, share


def analyze_results_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/analyze_results.py``."""
    parser = argparse.ArgumentParser(
        description='Confusion matrix, precision-recall curves, errors by kind, recall by size'
        ' and crowding: PNGs and one HTML page.'
    )
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--checkpoint', help='run this model on the test set')
    source.add_argument('--results', help='COCO results json of the test set instead')
    parser.add_argument('--out', required=True, metavar='DIR')
    parser.add_argument('--iou-thr', type=share, default=0.5, help='overlap of a hit')
    parser.add_argument(
        '--score-thr', type=share, default=0.3, help='of the confusion matrix and of recall'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default: a GPU if there is one')
    add_cfg_options(parser, 'model.test_cfg.nms.iou_threshold=0.6')
    return parser


def analyze_results(args: argparse.Namespace) -> None:
    """Collect, analyse, draw and write."""
    from mmengine.registry import init_default_scope

    from ..config import load_config
    from ..errors import ConfigError, DataError
    from ..evaluation.samples import usable
    from ..registry import DATASETS
    from .result_sources import results_of_file, results_of_model

    cfg = load_config(args.config, options=args.cfg_options)
    init_default_scope(cfg.default_scope)
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise ConfigError('the config has no test_dataloader')
    dataset = DATASETS.build(loader['dataset'])
    classes = dataset.metainfo.get('classes')
    if not classes:
        raise ConfigError("the test set's metainfo has no classes")
    if args.results:
        results = results_of_file(dataset, args.results)
    else:
        results = results_of_model(cfg, dataset, args.checkpoint, args.device)
    results = usable(results, len(classes))
    if not any(len(r['gt_bboxes']) for r in results):
        raise DataError('the test set has no objects; does its pipeline load annotations?')
    out = Path(args.out)
    page = analysis_page(results, classes, out, args)
    print(f'{len(results)} images: {page}')


def analysis_page(
    results: Sequence[dict], classes: Sequence[str], out: Path, args: argparse.Namespace
) -> Path:
    """Draw the pictures into ``out`` and write the page that holds them."""
    import numpy as np

    from ..evaluation.error_kinds import (
        confusion_matrix,
        crowd_groups,
        error_table,
        match_results,
        mean_ap,
        precision_recall,
        recall_by,
        size_groups,
    )
    from ..evaluation.voc_metric import average_precision
    from ..visualization.analysis import (
        draw_error_bars,
        draw_precision_recall,
        draw_recall_groups,
    )
    from ..visualization.heat_map import draw_heat_map
    from ..visualization.page import heading, page, paragraph, picture, table

    matched = match_results(results, iou_thr=args.iou_thr)
    curves: dict[str, tuple[Any, Any, float]] = {}
    rows = []
    for label, name in enumerate(classes):
        recall, precision, scores = precision_recall(matched, label)
        count = int((matched.gt_labels == label).sum())
        ap = average_precision(recall, precision, mode='area') if len(recall) else 0.0
        ap = ap if count else float('nan')
        curves[name] = (recall, precision, ap)
        best = best_f1(recall, precision, scores)
        rows.append([name, count, f'{ap:.3f}', *(f'{v:.3f}' for v in best)])
    order = sorted(curves, key=lambda n: -np.nan_to_num(curves[n][2], nan=-1))[:20]
    title = f'precision over recall at IoU {args.iou_thr:g}'
    draw_precision_recall({n: curves[n] for n in order}, out / 'curves.png', title=title)
    errors = error_table(matched, len(classes))
    draw_error_bars(errors, out / 'errors.png')
    matrix = confusion_matrix(results, len(classes), score_thr=args.score_thr, iou_thr=args.iou_thr)
    draw_heat_map(
        matrix / np.maximum(matrix.sum(1, keepdims=True), 1),
        out / 'confusion.png',
        rows=[*classes, 'background'],
        columns=[*classes, 'not found'],
        notes=matrix,
        title=f'objects (rows) taken for (columns), score >= {args.score_thr:g}',
        unit='share of the row',
    )
    sure = match_results([_above(r, args.score_thr) for r in results], iou_thr=args.iou_thr)
    groups = [recall_by(sure, size_groups(sure)), recall_by(sure, crowd_groups(sure))]
    title = f'objects found, score >= {args.score_thr:g}: by size, by crowding'
    draw_recall_groups(groups, out / 'groups.png', title=title)
    header = ['class', 'objects', 'AP', 'best F1', 'its precision', 'its recall', 'its score']
    tables = [
        ('Classes', header, rows),
        (
            'Errors by kind',
            ['kind', 'how many', 'AP gained if mended'],
            [[name, count, f'{gain:+.3f}'] for name, (count, gain) in errors.items()],
        ),
        (
            'Objects found by group',
            ['group', 'objects', 'found'],
            [[name, n, f'{share:.3f}'] for g in groups for name, (n, share) in g.items()],
        ),
    ]
    ap = mean_ap(matched, len(classes))
    intro = (
        f'{len(results)} images, {len(matched.gt_labels)} objects, {len(matched.scores)} '
        f'detections; mean AP at IoU {args.iou_thr:g} {ap:.3f} (area under the curve). '
        f'{args.checkpoint or args.results}, {args.config}.'
    )
    pictures = ['curves.png', 'errors.png', 'confusion.png', 'groups.png']
    path = out / 'analysis.html'
    parts = [paragraph(intro)]
    for title, head, body in tables:
        parts += [heading(title), table(head, body)]
    parts += [picture(out / name) for name in pictures]
    path.write_text(page('Analysis', parts), encoding='utf-8')
    return path


def best_f1(recall: Any, precision: Any, scores: Any) -> tuple[float, float, float, float]:
    """The highest F1 of a curve, with its precision, recall and score; NaN without points."""
    import numpy as np

    if not len(recall):
        return (float('nan'),) * 4
    f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-12)
    at = int(f1.argmax())
    return float(f1[at]), float(precision[at]), float(recall[at]), float(scores[at])


def _above(result: dict, score_thr: float) -> dict:
    keep = result['scores'] >= score_thr
    return {**result, **{name: result[name][keep] for name in ('bboxes', 'scores', 'labels')}}


def analyze_results_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/analyze_results.py``."""
    run_command(analyze_results_parser(), analyze_results, argv)
