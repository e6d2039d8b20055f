import pytest

from mmiam.apis.part_files import PartFiles


def parts_of(folder, keys, **info):
    return PartFiles(str(folder), info, keys)


def test_parts_are_written_found_and_read(tmp_path):
    parts = parts_of(tmp_path / 'parts', 'abc', checkpoint='a', sizes=(1, 2))
    assert parts.missing() == [0, 1, 2] and not parts.has(1)
    parts.write(1, dict(x=[1]))
    again = parts_of(tmp_path / 'parts', 'abc', checkpoint='a', sizes=(1, 2))
    assert again.missing() == [0, 2] and again.has(1) and again.read(1) == dict(x=[1])
    assert len(list((tmp_path / 'parts').iterdir())) == 2


def test_a_part_stays_where_others_come_and_go(tmp_path):
    parts_of(tmp_path, ['a', 'b', 'c']).write(2, dict(x='of c'))
    fewer = parts_of(tmp_path, ['c', 'new'])
    assert fewer.missing() == [1] and fewer.read(0) == dict(x='of c')


def test_failures_are_recorded_until_the_item_is_done(tmp_path):
    parts = parts_of(tmp_path, 'ab')
    parts.write_failure(1, 'is broken')
    assert parts.failures() == {1: 'is broken'} and parts.missing() == [0] and not parts.has(1)
    parts.write(1, dict(x=1))
    assert parts.failures() == {} and parts.missing() == [0]


def test_parts_of_another_run_are_refused(tmp_path):
    parts_of(tmp_path, 'abc', checkpoint='a', min_score=0.1)
    with pytest.raises(ValueError, match=r'another run \(checkpoint differ\); delete the folder'):
        parts_of(tmp_path, 'abc', checkpoint='b', min_score=0.1)


def test_damage_is_named(tmp_path):
    parts = parts_of(tmp_path, 'a')
    parts.write(0, dict(area=12))
    path = tmp_path / f'{parts.names[0]}.json'
    good = path.read_bytes()
    for data in (good[:-3], good.replace(b'12', b'13'), b'{"area": 12}', b''):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f'{path.name} is damaged: its check sum .*delete it and start again'):
            parts.read(0)
    (tmp_path / 'info.json').write_text('[1]')
    with pytest.raises(ValueError, match='info.json is damaged'):
        parts_of(tmp_path, 'a')
