import json

import pytest
import torch

from mmiam.apis import find_images, init_model, predict_files
from mmiam.apis.inference import output_names


@pytest.fixture
def demo(call_tool, folder, tiny_files, tmp_path):
    """``demo(*words)``: the script on the folder, with the model's config."""
    return lambda *words: call_tool('demo/image_demo.py', folder, tiny_files[0], '--out-dir', tmp_path / 'out',
                                    '--device', 'cpu', '--min-score', '0', *words)


def test_image_demo_writes_the_rest_of_a_folder_with_a_broken_image(demo, tiny_files, tmp_path, capsys):
    with pytest.warns(UserWarning, match='broken.jpg is not an image that can be read'):
        assert demo('--weights', tiny_files[1]) == 1
    content = json.loads((tmp_path / 'out/predictions.json').read_text())
    names = ['color.jpg', 'gray.png', 'rgba.png']
    assert [one['file_name'] for one in content['images']] == [str(tmp_path / 'images' / name) for name in names]
    assert sorted(path.name for path in (tmp_path / 'out/vis').iterdir()) == names
    assert f'3 images, {len(content["annotations"])} instances: ' in capsys.readouterr().out


def test_image_demo_draws_no_random_masks_unasked(demo, tmp_path, capsys):
    assert demo() == 2 and 'no weights are published' in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_images_of_files_folders_and_lists_once_each(folder, tmp_path):
    def names(*sources):
        return [path[len(str(folder)) + 1:] for path in find_images(*(str(folder / source) for source in sources))]

    for name in ('b/c/cat.png', 'b/phone.HEIC', '.hidden/cat.jpg', 'b/._cat.png', 'b/empty/notes.txt'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'something')
    assert names('gray.png', 'b', 'b/../b/c') == ['gray.png', 'b/c/cat.png', 'b/phone.HEIC']
    (folder / 'b/list.txt').write_text('c/cat.png\n\n../gray.png\n')
    assert names('b/list.txt') == ['b/c/cat.png', 'b/../gray.png']
    (tmp_path / 'elsewhere').mkdir()
    (folder / 'b/c/cat.png').rename(tmp_path / 'elsewhere/cat.png')
    (folder / 'b/linked').symlink_to(tmp_path / 'elsewhere')
    (folder / 'b/linked/circle').symlink_to(folder)
    assert names('b') == ['b/linked/cat.png', 'b/phone.HEIC']
    for source, message in (('nowhere', 'nowhere does not exist$'), ('b/empty', 'no image in .*empty; images are .jpg'),
                            ('b/list.txt', r'cat.png does not exist \(1 of 2 images are missing\)')):
        with pytest.raises(FileNotFoundError, match=message):
            names(source)


def test_weights_that_do_not_fit_are_refused(model, tiny_files, tmp_path):
    """mmdet loads what fits, and the rest stays random with a line in the log."""
    state = model.state_dict()
    backbone = {key: value for key, value in state.items() if key.startswith('backbone')}
    broken = {key: value * float('nan') if key.endswith('layers.0.weight') else value for key, value in state.items()}
    for content, message in ((backbone, 'a.pth .*lacks .*peak_head.classifier.weight'),
                             (broken, 'a.pth: .* infinite or no numbers, the first is filler')):
        torch.save(dict(state_dict=content), tmp_path / 'a.pth')
        with pytest.raises(ValueError, match=message):
            init_model(tiny_files[0], str(tmp_path / 'a.pth'), 'cpu')


def test_class_scores_in_the_order_of_the_data_set(model, tiny_files, logged):
    other = init_model(*tiny_files, 'cpu', classes=('person', 'cat', 'dog'))
    assert other.dataset_meta['classes'] == ('person', 'cat', 'dog') and 'reordered' in logged[-1]
    assert torch.equal(other.peak_head.classifier.weight, model.peak_head.classifier.weight[[2, 0, 1]])
    with pytest.raises(ValueError, match='tiny.pth knows the classes cat, dog, person, the data set cat, owl'):
        init_model(*tiny_files, 'cpu', classes=('cat', 'owl', 'person'))


@pytest.mark.parametrize('paths, names', [
    ('a/1.jpg b/2.jpg', '1.jpg 2.jpg'), ('a/1.jpg b/1.jpg b/c/2.jpg', 'a/1.jpg b/1.jpg b/c/2.jpg'),
    ('a/1.jpg a/1.png', '1_jpg.jpg 1_png.png'), ('a/1.jpg a/1.jpg', '1.jpg 1.jpg')])
def test_names_of_what_is_written(paths, names):
    assert output_names([f'/photos/{path}' for path in paths.split()]) == names.split()


def test_an_image_whose_scores_are_no_numbers_is_said(folder, model, monkeypatch):
    real, path = model.test_step, str(folder / 'gray.png')

    def step(data):
        found = real(data)
        found[0].pred_class_scores[0] = float('nan')
        return found
    monkeypatch.setattr(model, 'test_step', step)
    with pytest.warns(UserWarning, match='gray.png: the scores are NaN'):
        assert list(predict_files(model, [path])) == [(path, None)]
