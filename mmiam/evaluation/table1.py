"""Table 1 of the paper: its figures, and the same table of other runs beside them.

A row's *figures* are a dict of mAP^r at IoU .25, .5, .75 and ABO, in percent.
"""
from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

FIGURES = ('mAP_25', 'mAP_50', 'mAP_75', 'ABO')

#: Zhu et al., "Learning Instance Activation Maps for Weakly Supervised Instance Segmentation", CVPR 2019, Table 1:
#: VOC 2012 val, 1,449 images, ResNet-50. "Proposal" is called MCG there. In the order of the paper.
PAPER = {
    'Ground Truth Box Rect': (78.3, 30.2, 4.5, 47.4),
    'Ground Truth Box Ellipse': (81.6, 41.1, 6.6, 51.9),
    'Ground Truth Box Proposal': (69.7, 38.0, 12.3, 53.3),
    'CAM Rect': (18.7, 2.5, 0.1, 18.9),
    'CAM Ellipse': (22.8, 3.9, 0.1, 20.8),
    'CAM Proposal': (20.4, 7.8, 2.5, 23.0),
    'SPN Rect': (29.2, 5.2, 0.3, 23.0),
    'SPN Ellipse': (32.0, 6.1, 0.3, 24.0),
    'SPN Proposal': (26.4, 12.7, 4.4, 27.1),
    'MELM Rect': (36.0, 14.6, 1.9, 26.4),
    'MELM Ellipse': (36.8, 19.3, 2.4, 27.5),
    'MELM Proposal': (36.9, 22.9, 8.4, 32.9),
    'PRM': (44.3, 26.8, 9.0, 37.6),
    'IAM-S1': (45.6, 28.3, 10.4, 41.5),
    'IAM-S5': (45.9, 28.8, 11.9, 41.9),
    'IAM-S9': (45.7, 27.8, 10.5, 41.7),
}
#: the claim of the paper: this row over that one
MARGIN = ('IAM-S5', 'PRM')

Runs = Mapping[str, Mapping[str, Mapping[str, float]]]  # row -> seed -> figures


def row_order(name: str) -> tuple:
    """Sorts rows as the paper does; a variant ('IAM-S5 without …') after its row, others at the end."""
    names = list(PAPER)
    stem = name.partition(' without ')[0]
    return (names.index(stem) if stem in PAPER else len(names), name)


def mean_and_deviation(runs: Sequence[Mapping[str, float]]) -> tuple[dict, dict]:
    """Mean and sample standard deviation of each figure over runs; the deviation of a single run is None."""
    mean, deviation = {}, {}
    for key in FIGURES:
        values = [run[key] for run in runs]
        mean[key] = statistics.fmean(values)
        deviation[key] = statistics.stdev(values) if len(values) > 1 and not any(map(math.isnan, values)) else None
    return mean, deviation


def margin_runs(runs: Runs) -> dict[str, dict[str, float]]:
    """Differences of :data:`MARGIN`'s rows, seed by seed, for the seeds that both have."""
    better, worse = (runs.get(name, {}) for name in MARGIN)
    return {seed: {key: better[seed][key] - worse[seed][key] for key in FIGURES} for seed in better if seed in worse}


def summarize(runs: Runs, not_run: Mapping[str, str]) -> dict:
    """The table as json-ready content.

    Args:
        runs (dict): row -> seed -> figures.
        not_run (dict): row -> why there is no figure.

    Returns:
        dict: ``rows`` (row -> mean figures), ``std`` (row -> deviations, None for a single run), ``runs``,
        ``not_run``, ``paper`` (row -> its figures), ``margin`` (``mean``, ``std``, ``paper``; if both rows ran).
        NaN (no ground truth) stands as None.
    """
    rows, std = {}, {}
    for name in sorted(runs, key=row_order):
        if runs[name]:
            rows[name], std[name] = mean_and_deviation(list(runs[name].values()))
    content = dict(rows=rows, std=std, runs={name: dict(runs[name]) for name in rows},
                   not_run={name: not_run[name] for name in sorted(not_run, key=row_order)},
                   paper={name: dict(zip(FIGURES, values)) for name, values in PAPER.items()})
    differences = margin_runs(runs)
    if differences:
        mean, deviation = mean_and_deviation(list(differences.values()))
        better, worse = (PAPER[name] for name in MARGIN)
        content['margin'] = dict(rows=list(MARGIN), mean=mean, std=deviation,
                                 paper={key: a - b for key, a, b in zip(FIGURES, better, worse)})
    return _rounded(content)


def table_rows(summary: Mapping) -> list[list[str]]:
    """Rows of text for a table: ours with deviation and number of runs, the paper's figures in brackets."""
    lines = [['', 'runs', *(f'{key} (paper)' for key in FIGURES)]]
    for name in sorted({*summary['rows'], *summary['not_run']}, key=row_order):
        mean, paper = summary['rows'].get(name), summary['paper'].get(name)
        number = len(summary['runs'][name]) if mean else 0
        cells = [_cell(mean and mean[key], mean and summary['std'][name][key], paper and paper[key])
                 for key in FIGURES]
        lines.append([name, str(number) if number else 'not run', *cells])
    if 'margin' in summary:
        margin = summary['margin']
        cells = [_cell(margin['mean'][key], margin['std'][key], margin['paper'][key], sign='+') for key in FIGURES]
        lines.append([' - '.join(margin['rows']), '', *cells])
    return lines


def _cell(mean: float | None, deviation: float | None, paper: float | None, sign: str = '') -> str:
    """``45.9 ±0.3 (45.9)``, with ``-`` for what there is not."""
    own = '-' if mean is None else f'{mean:{sign}.1f}'
    if deviation is not None:
        own += f' ±{deviation:.1f}'
    return own if paper is None else f'{own} ({paper:{sign}.1f})'


def _rounded(value):
    """Numbers to two digits after the point, NaN as None, in nested dicts."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 2)
    return value
