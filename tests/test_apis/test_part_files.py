import pytest

from mmiam.apis.part_files import PartFiles


@pytest.fixture
def parts_of(tmp_path):
    """``parts_of(keys, **info)`` in one folder."""
    return lambda keys, **info: PartFiles(str(tmp_path / 'parts'), info, keys)


def test_a_part_is_found_by_its_key_whatever_comes_beside_it(parts_of):
    parts = parts_of('abc', sizes=(1, 2))
    assert parts.missing() == [0, 1, 2] and not parts.has(1)
    parts.write(1, dict(x=[1]))
    again = parts_of(['b', 'new', 'c'], sizes=(1, 2))
    assert again.missing() == [1, 2] and again.has(0) and again.read(0) == dict(x=[1])


def test_failures_are_recorded_until_the_item_is_done(parts_of):
    parts = parts_of('ab')
    parts.write_failure(1, 'is broken')
    assert parts.failures() == {1: 'is broken'} and parts.missing() == [0] and not parts.has(1)
    parts.write(1, dict(x=1))
    assert parts.failures() == {} and parts.missing() == [0]


def test_parts_of_another_run_are_refused(parts_of):
    parts_of('abc', checkpoint='a', min_score=0.1)
    with pytest.raises(ValueError, match=r'another run \(checkpoint differ\); delete the folder'):
        parts_of('abc', checkpoint='b', min_score=0.1)


def test_damage_is_named(parts_of, tmp_path):
    parts = parts_of('a')
    parts.write(0, dict(area=12))
    path = tmp_path / 'parts' / f'{parts.names[0]}.json'
    good = path.read_bytes()
    for data in (good[:-3], good.replace(b'12', b'13'), b'{"area": 12}', b''):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f'{path.name} is damaged: its check sum .*delete it and start again'):
            parts.read(0)
    (tmp_path / 'parts/info.json').write_text('[1]')
    with pytest.raises(ValueError, match='info.json is damaged'):
        parts_of('a')
