"""The rows of Table 1: their configs, what each needs and lacks, and the passes over the data that they share.

A *row* is a config file with ``row`` (its name) and ``weights`` (the names under which its checkpoint may be given,
in order of preference; empty for rows without network). A *pass* is one test run of one checkpoint that evaluates
several rows: rows share it if they differ in nothing but their post-processor.
"""
from __future__ import annotations

import copy
import os
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mmengine.config import Config

from mmiam.models.baselines import load_detections
from mmiam.proposals.io import find_proposal_file

from .table1_checkpoints import as_json, checkpoint_note, checkpoint_problem, without

Checkpoints = Mapping[str, Mapping[str, str]]  # name of weights -> seed -> path
NO_SEED = '-'  # of a row without network


@dataclass
class Row:
    """A row of the table.

    Attributes:
        stem (str): name of its config file.
        cfg (Config): its config.
        runs (dict[str, str | None]): seed -> checkpoint (None: no network).
        missing (str | None): why it cannot run.
        notes (list[str]): what is left out although the row runs.
    """
    stem: str
    cfg: Config
    runs: dict[str, str | None] = field(default_factory=dict)
    missing: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.cfg.row


def load_rows(folder: str, options: Mapping | None = None, proposal_root: str | None = None,
              detections: str | None = None) -> list[Row]:
    """The rows whose configs lie in a folder.

    Args:
        folder (str): with one config a row; sub-folders are not looked into.
        options (dict, optional): merged into each config.
        proposal_root (str, optional): replaces that of each config.
        detections (str, optional): replaces the path of each :class:`DetectionFileBoxes`.

    Raises:
        FileNotFoundError: if the folder holds no config.
        ValueError: if a config says not which row it is, or two say the same.
    """
    stems = sorted(name[:-3] for name in os.listdir(folder) if name.endswith('.py')) if osp.isdir(folder) else []
    if not stems:
        raise FileNotFoundError(f'no row: {folder} holds no config (*.py)')
    rows = []
    for stem in stems:
        path = osp.join(folder, stem + '.py')
        cfg = Config.fromfile(path)
        if not isinstance(cfg.get('row'), str) or cfg.get('weights') is None:
            raise ValueError(f"{path} must set row (the row's name) and weights (names of its checkpoint, () for none)")
        if any(cfg.row == row.name for row in rows):
            raise ValueError(f'{path}: there is another row {cfg.row!r}')
        if options:
            cfg.merge_from_dict(dict(options))
        for kind, key, value in (('WithProposals', 'proposal_root', proposal_root),
                                 ('DetectionFileBoxes', 'path', detections)):
            if value is not None:
                for node in find_dicts(cfg.model, kind):
                    node[key] = value
        rows.append(Row(stem, cfg))
    return rows


def find_dicts(node, kind: str) -> Iterator[dict]:
    """All dicts with ``type=kind`` inside nested dicts and lists."""
    if isinstance(node, dict):
        if node.get('type') == kind:
            yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from find_dicts(item, kind)


# -- what a row needs ----------------------------------------------------------------------------------------------
def prepare(row: Row, checkpoints: Checkpoints, image_ids: Sequence[str]) -> None:
    """Sets ``runs`` of a row, or ``missing``, by looking for checkpoints, proposals and detections."""
    row.missing = _missing_proposals(row.cfg, image_ids) or _missing_detections(row, image_ids)
    if row.missing:
        return
    if not row.cfg.weights:
        row.runs = {NO_SEED: None}
        return
    names = list(dict.fromkeys([row.stem, *row.cfg.weights]))
    name = next((name for name in names if checkpoints.get(name)), None)
    if name is None:
        row.missing = f'no checkpoint: --checkpoints {row.cfg.weights[0]}=PATH'
        return
    problems = []
    for seed, path in checkpoints[name].items():
        problem = checkpoint_problem(path, row.cfg.model)
        if problem:
            problems.append(f'seed {seed}: {problem}')
            continue
        row.runs[seed] = path
        note = checkpoint_note(path, row.cfg.model)
        if note:
            problems.append(f'seed {seed}: {note}')
    if row.runs:
        row.notes = problems
    else:
        row.missing = '; '.join(problems)


def _missing_proposals(cfg: Config, image_ids: Sequence[str]) -> str | None:
    """Why proposals that a config needs are not there."""
    for node in find_dicts(cfg.model, 'WithProposals'):
        lacking = 0
        for image_id in image_ids:
            try:
                find_proposal_file(node['proposal_root'], image_id)
            except FileNotFoundError:
                lacking += 1
        if lacking:
            return f'no proposals of {lacking} of {len(image_ids)} images in {node["proposal_root"]}'
    return None


def _missing_detections(row: Row, image_ids: Sequence[str]) -> str | None:
    """Why detections that a row needs are not there; notes how many images have any."""
    for node in find_dicts(row.cfg.model, 'DetectionFileBoxes'):
        try:
            found = load_detections(node['path'], node['classes'])
        except (OSError, ValueError) as error:
            return str(error)
        covered = len(set(found).intersection(image_ids))
        if not covered:
            return f'{node["path"]} has no detection of any of the {len(image_ids)} images'
        row.notes = [f'detections on {covered} of {len(image_ids)} images']
    return None


# -- passes --------------------------------------------------------------------------------------------------------
@dataclass
class Pass:
    """One test run of one checkpoint (None: no network) for several rows, each with the name of its seed."""
    checkpoint: str | None
    members: list[tuple[Row, str]] = field(default_factory=list)


def plan_passes(rows: Sequence[Row]) -> list[Pass]:
    """As few passes as the rows allow.

    Rows with a filling module come first in a pass, and rows without one join them.
    """
    passes: dict[tuple, Pass] = {}
    for row in sorted(rows, key=lambda row: not row.cfg.model.get('filler')):
        rest = as_json([without(row.cfg.model, 'train_cfg', 'sampler', 'post_processor', 'filler'),
                        row.cfg.test_dataloader])
        filler = as_json(row.cfg.model.get('filler'))
        for seed, checkpoint in row.runs.items():
            key = next((key for key in passes if key[:2] == (checkpoint, rest)
                        and (key[2] == filler or not row.cfg.model.get('filler'))), (checkpoint, rest, filler))
            passes.setdefault(key, Pass(checkpoint)).members.append((row, seed))
    return list(passes.values())


def pass_config(one: Pass) -> Config:
    """The config that evaluates all rows of a pass, each by the VOCInstanceMetric of its own config."""
    rows = [row for row, _ in one.members]
    cfg = copy.deepcopy(rows[0].cfg)
    cfg.load_from = one.checkpoint
    if cfg.model.get('backbone'):
        cfg.model.backbone.init_cfg = None  # weights come from the checkpoint
    if cfg.model.get('sampler'):
        cfg.model.sampler = None
    test_cfg = dict(cfg.model.get('test_cfg') or {})
    test_cfg['baselines'] = {row.stem: row.cfg.model.post_processor for row in rows[1:]}
    cfg.model.test_cfg = test_cfg
    cfg.test_evaluator = [
        dict(row_metric(row), prefix=row.stem, pred_field=f'pred_instances_{row.stem}' if index else 'pred_instances')
        for index, row in enumerate(rows)]
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.custom_hooks = []
    return cfg


def row_metric(row: Row) -> dict:
    """The VOCInstanceMetric of a row's test_evaluator."""
    evaluators = row.cfg.test_evaluator
    for metric in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        if metric['type'] == 'VOCInstanceMetric':
            return dict(metric)
    raise ValueError(f'{row.stem}: test_evaluator has no VOCInstanceMetric')
