"""The time of a click on a tiny network."""
import json
import runpy
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[2]
tool = runpy.run_path(str(ROOT / 'tools/analysis_tools/benchmark_prompts.py'), run_name='benchmark_prompts')


def test_every_click_is_timed(tiny_config, mini_voc, tmp_path, capsys):
    config, checkpoint, out = tmp_path / 'tiny.py', tmp_path / 'tiny.pth', tmp_path / 'prompts.json'
    settings = tiny_config()
    settings.dump(config)
    init_default_scope('mmdet')
    torch.save(dict(state_dict=MODELS.build(settings.model).state_dict(), meta={}), checkpoint)
    assert tool['main']([str(config), str(checkpoint), '--images', str(mini_voc() / 'JPEGImages'), '--num', '2',
                         '--device', 'cpu', '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    assert [Path(image['path']).stem for image in result['images']] == ['t0', 't3']
    assert all(image['size'] == [24, 32] and len(image['clicks']) == 9 for image in result['images'])
    clicks = sorted(1e3 * seconds for image in result['images'] for seconds in image['clicks'])
    assert 0 < clicks[0] <= result['click_ms'] <= result['slowest_click_ms'] == clicks[-1] and result['clicks'] == 18
    assert '2 images, cpu' in capsys.readouterr().out


def test_bad_input_is_named(tmp_path, capsys):
    config = str(ROOT / 'configs/iam_r50_voc.py')
    assert tool['main']([config, 'gone.pth', '--images', str(tmp_path), '--device', 'cpu']) == 2
    assert 'holds no image' in capsys.readouterr().err
    (tmp_path / 'one.jpg').touch()
    assert tool['main']([config, 'gone.pth', '--images', str(tmp_path), '--device', 'cpu']) == 2
    assert 'checkpoint gone.pth does not exist' in capsys.readouterr().err
