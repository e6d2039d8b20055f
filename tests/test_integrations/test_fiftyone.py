"""Label fields of FiftyOne, in memory; in its own database where that starts."""
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmiam.integrations import fiftyone as ours

fo = pytest.importorskip('fiftyone', reason='fiftyone is not installed (pip install fiftyone)')


def instances():
    """Two masks of 20 x 30 pixels, with maps."""
    masks = torch.zeros(2, 20, 30, dtype=torch.bool)
    masks[0, 4:10, 6:18], masks[1, 19, 29] = True, True
    maps = torch.zeros(2, 10, 15)
    maps[0, 3, 3], maps[1, 9, 14] = 4., .5
    return InstanceData(masks=masks, labels=torch.tensor([1, 0]), scores=torch.tensor([.9, .6]), prms=maps,
                        bboxes=torch.tensor([[6., 4., 18., 10.], [29., 19., 30., 20.]]), iams=maps.clamp(max=1))


def test_detections_are_masks_in_relative_boxes():
    first, second = ours.detections(instances(), ['cat', 'dog']).detections
    assert isinstance(first, fo.Detection) and (first.label, second.label) == ('dog', 'cat')
    assert first.bounding_box == pytest.approx([6 / 30, 4 / 20, 12 / 30, 6 / 20])
    assert first.mask.shape == (6, 12) and first.mask.all() and first.confidence == pytest.approx(.9)
    assert second.bounding_box == pytest.approx([29 / 30, 19 / 20, 1 / 30, 1 / 20])
    image = np.zeros((20, 30), np.uint8)  # FiftyOne itself puts the mask where it was
    found = first.to_segmentation(mask=image, target=1).mask
    assert np.array_equal(found > 0, instances().masks[0].numpy())


def test_heatmaps_are_maxima_from_0_to_1():
    found = ours.heatmaps(instances())
    assert sorted(found) == ['iam', 'prm']  # those that the instances have
    assert isinstance(found['prm'], fo.Heatmap) and found['prm'].map.shape == (10, 15)
    assert found['prm'].map[3, 3] == found['prm'].map[9, 14] == 1  # each by its own maximum
    assert found['iam'].map[9, 14] == .5 and found['iam'].range == [0, 1]


def test_tags_of_every_kind_of_field():
    dog, cat = fo.Classification(label='dog'), fo.Classification(label='cat')
    assert ours.tag_names(dog) == ['dog'] and ours.tag_names(None) == []
    assert ours.tag_names(fo.Classifications(classifications=[dog, cat])) == ['dog', 'cat']
    assert ours.tag_names(['dog', 'cat']) == ['dog', 'cat']


@pytest.mark.slow
def test_a_data_set_in_the_database(photo, tmp_path):
    """The script of the page, in a process with a database of its own, as FiftyOne starts it."""
    photo('photos/a.png'), photo('photos/b.png')
    (tmp_path / 'photos/broken.png').write_bytes(b'no image')
    script = textwrap.dedent('''
        import json, sys
        import fiftyone
        try:
            dataset = fiftyone.Dataset.from_images(['photos/a.png', 'photos/b.png', 'photos/broken.png'])
        except Exception as error:
            sys.exit(f'no database: {type(error).__name__} {error}'[:300])
        from mmiam.integrations.fiftyone import add_masks
        first = dataset.first()
        first['ground_truth'] = fiftyone.Classification(label='dog')
        first.save()
        add_masks(dataset, tags='ground_truth', maps=True)
        dataset.reload()
        print('#', json.dumps([[len(one.iam.detections) if one.iam else None, [
            list(one[f'iam_{name}'].map.shape) if one[f'iam_{name}'] else None for name in ('cam', 'prm', 'iam')]]
            for one in dataset]))
        try:
            add_masks(dataset, tags='nothing')
        except ValueError as error:
            print('#', error)
        from mmiam.cli import main
        assert main(['predict', 'photos/a.png', '--min-score', '0', '--point', '225,110']) == 0
        dataset = fiftyone.Dataset.from_dir(
            dataset_type=fiftyone.types.COCODetectionDataset, data_path='.',
            labels_path='outputs/predictions.json', label_types='segmentations')
        one, = dataset
        field, = [value for value in one.iter_fields() if isinstance(value[1], fiftyone.Detections)]
        print('#', json.dumps([one.filepath, len(field[1].detections), int(field[1].detections[0].mask.sum())]))
    ''')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], cwd=tmp_path, capture_output=True, text=True,
                          env=dict(os.environ, FIFTYONE_DATABASE_DIR=str(tmp_path / 'database'), HOME=str(tmp_path),
                                   FIFTYONE_DO_NOT_TRACK='true'), timeout=300)
    if done.returncode and 'no database' in done.stderr:
        pytest.skip(done.stderr[-300:])
    assert done.returncode == 0, done.stderr[-2000:]
    found, refused, imported = [line[2:] for line in done.stdout.splitlines() if line.startswith('# ')]
    (count, shapes), untagged, broken = json.loads(found)
    assert count >= 1 and shapes[0] == shapes[1] == shapes[2] and len(shapes[0]) == 2
    assert untagged[0] == 0 and broken == [None, [None] * 3]
    assert "'nothing' is none of the fields" in refused
    path, count, pixels = json.loads(imported)
    assert path == str(tmp_path / 'photos/a.png') and count == 1 and 5_000 < pixels < 120_000
