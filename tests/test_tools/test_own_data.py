"""The five commands of docs/own_data.md as they stand there, from an empty folder, on photos drawn here."""
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support import ROOT, run_process

from mmiam.datasets.tag_files.coco_json import read_coco
from mmiam.proposals.generators import SelectiveMerging
from mmiam.utils.images import read_image

pytestmark = pytest.mark.slow

SMALL = '(64,64)'
#: appended to the commands: one epoch a stage on 64 x 64 pixels, random weights, no processes for loading
TINY = dict(
    train=['model.backbone.init_cfg=None', 'train_cfg.max_epochs=2', 'train_cfg.val_interval=1',
           'custom_hooks.0.fill_begin=1', f'train_dataloader.dataset.pipeline.2.scale={SMALL}',
           f'val_dataloader.dataset.pipeline.1.scale={SMALL}', 'train_dataloader.batch_size=4',
           'model.filler.num_stacks=1', 'model.filler.num_steps=2', 'model.sampler.min_score=None',
           'model.sampler.overlap_thr=0.',
           *(f'{part}_dataloader.{key}' for part in ('train', 'val') for key in
             ('num_workers=0', 'persistent_workers=False'))],
    use=[f'test_dataloader.dataset.pipeline.1.scale={SMALL}', 'model.filler.num_stacks=1', 'model.filler.num_steps=2',
         'model.post_processor.mask_thr=0.01', 'model.post_processor.crf=None'])


def commands() -> list[str]:
    """Lines of the one bash block of the page."""
    block, = re.findall(r'```bash\n(.*?)```', (ROOT / 'docs/own_data.md').read_text(), re.S)
    return block.strip().splitlines()


@pytest.fixture
def folder(tmp_path):
    """An empty folder with tools, demo and configs of the project, and photos of two classes."""
    for name in ('tools', 'demo', 'configs'):
        (tmp_path / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    for tag, color in (('cat', (220, 60, 40)), ('dog', (40, 90, 220))):
        for number in range(1, 4):
            image = Image.fromarray(rng.integers(90, 130, (48, 64, 3), dtype=np.uint8))
            x, y = rng.integers(4, 24, 2).tolist()
            ImageDraw.Draw(image).ellipse((x, y, x + 30, y + 20), fill=color)
            path = tmp_path / f'photos/{tag}/{number}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, quality=95)
    return tmp_path


def test_five_commands(folder):
    export, generate, train, masks, demo = commands()
    lines = [export, generate, f'{train} --cfg-options {" ".join(TINY["train"])}',
             *(f'{line} --cfg-options {" ".join(TINY["use"])}' for line in (masks, demo))]
    script = '\n'.join(['set -e', f'python() {{ "{sys.executable}" "$@"; }}',
                        *(re.sub(r'=(\([^)]*\))', r'="\1"', line) for line in lines)])
    (folder / 'commands.sh').write_text(script)
    done = run_process('commands.sh', cwd=folder)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    assert sorted(path.relative_to(folder / 'proposals').as_posix() for path in (folder / 'proposals').rglob('*.npz')
                  ) == [f'{tag}/{number}.npz' for tag in ('cat', 'dog') for number in (1, 2, 3)]
    content = json.loads((folder / 'masks.json').read_text())
    assert [c['name'] for c in content['categories']] == ['cat', 'dog'] and content['annotations']
    names = {image['id']: image['file_name'] for image in content['images']}
    assert len(names) == 6
    for annotation in content['annotations']:
        assert names[annotation['image_id']].startswith(('cat', 'dog')[annotation['category_id'] - 1])
        assert annotation['segmentation']['size'] == [48, 64]
    assert [image.tags for image in read_coco(str(folder / 'masks.json')).images] == [['cat']] * 3 + [['dog']] * 3
    assert len(list((folder / 'pictures/vis').iterdir())) == 3
    assert len(json.loads((folder / 'pictures/predictions.json').read_text())['images']) == 3


def test_a_wrong_number_of_classes_is_refused(folder):
    for path in (folder / 'photos').rglob('*.jpg'):
        SelectiveMerging()(read_image(path)).save(folder / 'proposals' / path.parent.name / f'{path.stem}.npz')
    done = run_process('tools/train.py', 'configs/iam-plus_mbv2_own.py', '--cfg-options', *TINY['train'],
                       'model.peak_head.num_classes=3', cwd=folder, OWN_IMAGES='photos', OWN_PROPOSALS='proposals')
    assert done.returncode != 0 and 'num_classes is 3' in done.stderr, done.stderr[-2000:]
