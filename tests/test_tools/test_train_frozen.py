"""tools/train_frozen.py: weights, a log, and going on."""
from mmiam.apis import init_model


def test_tool(call_tool, tiny_config, tmp_path, capsys):
    cfg = tiny_config()
    cfg.model.filler.update(stride=8, num_stacks=1, num_steps=2)
    cfg.dump(tmp_path / 'tiny.py')
    words = ('tools/train_frozen.py', tmp_path / 'tiny.py', '--work-dir', tmp_path / 'run', '--head-steps', 3,
             '--fill-steps', 2, '--device', 'cpu', '--features', tmp_path / 'features')
    assert call_tool(*words, '--shard', '0/2') == 0
    assert not (tmp_path / 'run/model.pth').exists()
    assert call_tool(*words) == 0
    log = (tmp_path / 'run/train.log').read_text()
    assert 'head: 3 steps, loss' in log and 'filling module: step 2 of 2, loss' in log
    first = (tmp_path / 'run/model.pth').read_bytes()
    assert call_tool(*words) == 0 and (tmp_path / 'run/model.pth').read_bytes() == first
    model = init_model(cfg, str(tmp_path / 'run/model.pth'), device='cpu')
    assert list(model.dataset_meta['classes']) == ['cat', 'dog', 'person']
    assert call_tool(*words, '--cfg-options', 'model.peak_head.num_classes=4') == 2
    assert 'num_classes is 4' in capsys.readouterr().err
