import numpy as np
import pytest

from mmiam.proposals.window_sets import group_by_window_set


def window(label_map, y, x, radius):
    return frozenset(label_map[max(0, y - radius):y + radius + 1, max(0, x - radius):x + radius + 1].ravel().tolist())


def test_by_hand():
    sets = group_by_window_set(np.array([[0, 0, 0, 1, 2]]), 3)
    assert sets.pixels.tolist() == [2, 4, 3]  # pairs first, then larger sets
    assert [t.tolist() for t in sets.tables] == [[[0, 1], [1, 2]], [[0, 1, 2]]]
    assert sets.set_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize('labels, size, side', [(4, (9, 11), 5), (40, (9, 11), 5), (3, (2, 9), 3), (300, (20, 30), 5),
                                                (5, (6, 6), 7), (2, (1, 1), 5), (6, (1, 12), 5), (4, (8, 8), 1)])
def test_equals_sets_collected_pixel_by_pixel(labels, size, side):
    rng = np.random.default_rng(labels)
    label_map = rng.integers(0, labels, size).astype(np.uint16)
    sets = group_by_window_set(label_map, side)
    rows = [row for table in sets.tables for row in table.tolist()]
    assert len({frozenset(r) for r in rows}) == len(rows) == len(sets)  # each set once
    found = {int(p): frozenset(rows[i]) for p, i in zip(sets.pixels, sets.set_ids)}
    for y in range(size[0]):
        for x in range(size[1]):
            expected = window(label_map, y, x, side // 2)
            assert found.get(y * size[1] + x) == (expected if len(expected) > 1 else None)


@pytest.mark.parametrize('side', [0, 4, -3])
def test_even_windows_are_refused(side):
    with pytest.raises(ValueError, match='odd'):
        group_by_window_set(np.zeros((3, 3), np.uint8), side)
