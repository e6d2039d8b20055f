from pathlib import Path

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmiam.engine.table1_rows import find_dicts
from mmiam.evaluation.table1 import PAPER

FOLDER = Path(__file__).parents[2] / 'configs/voc_table1'
FILES = [*sorted(FOLDER.glob('*.py')), *sorted(FOLDER.glob('mbv2/*.py'))]
VARIANTS = {f'IAM-S{k} without ConvCRF' for k in (1, 5, 9)}


@pytest.mark.parametrize('path', FILES, ids=lambda path: '/'.join(path.parts[-2:]))
def test_row_builds_and_reads_no_more_than_it_needs(path):
    init_default_scope('mmdet')
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model)
    assert not any(find_dicts(cfg.test_dataloader, 'LoadSegmentProposals'))
    needs_proposals = cfg.row == 'PRM' or cfg.row.endswith('Proposal')
    assert any(find_dicts(cfg.model, 'WithProposals')) == needs_proposals
    if cfg.row.startswith('IAM'):
        assert cfg.model.sampler.num_candidates == int(path.stem[5])
        assert (model.post_processor.crf is None) == path.stem.endswith('wo-crf')
        assert model.post_processor.needs_iam
    else:
        assert getattr(model, 'filler', None) is None
        shape = {'Rect': 'rect', 'Ellipse': 'ellipse', 'Proposal': 'proposal'}.get(cfg.row.split()[-1])
        assert path.stem.endswith(f'_{shape}' if shape else '_proposal-retrieval')
        assert next(find_dicts(cfg.model, 'BoxToMask'), dict(mask=None))['mask'] == shape


@pytest.mark.parametrize('folder', [FOLDER, FOLDER / 'mbv2'], ids=['r50', 'mbv2'])
def test_every_row_of_the_paper_is_a_config(folder):
    rows = [Config.fromfile(path).row for path in folder.glob('*.py')]
    assert sorted(rows) == sorted({*PAPER, *VARIANTS})


@pytest.mark.parametrize('folder', [FOLDER, FOLDER / 'mbv2'], ids=['r50', 'mbv2'])
def test_classifiers_train_without_proposals_for_the_epochs_of_stage_one(folder):
    for stem in ('spn_rect', 'prm_proposal-retrieval'):
        cfg = Config.fromfile(folder / f'{stem}.py')
        assert not any(find_dicts(cfg.train_dataloader, 'LoadSegmentProposals'))
        assert cfg.train_cfg.max_epochs == cfg.fill_begin and cfg.custom_hooks == []
        resize, = find_dicts(cfg.train_dataloader, 'Resize')
        assert tuple(resize.scale) == tuple(cfg.scale)
