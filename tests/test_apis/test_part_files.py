import pytest

from mmiam.apis.part_files import PartFiles


def test_parts_are_written_found_and_read(tmp_path):
    parts = PartFiles(str(tmp_path / 'parts'), dict(checkpoint='a', sizes=(1, 2)), 3)
    assert parts.missing() == [0, 1, 2] and not parts.has(1)
    parts.write(1, dict(x=[1]))
    again = PartFiles(str(tmp_path / 'parts'), dict(checkpoint='a', sizes=(1, 2)), 3)
    assert again.missing() == [0, 2] and again.has(1) and again.read(1) == dict(x=[1])
    assert sorted(path.name for path in (tmp_path / 'parts').iterdir()) == ['0000001.json', 'info.json']


def test_parts_of_another_run_are_refused(tmp_path):
    PartFiles(str(tmp_path), dict(checkpoint='a', min_score=0.1), 3)
    with pytest.raises(ValueError, match=r'another run \(checkpoint differ\); delete the folder'):
        PartFiles(str(tmp_path), dict(checkpoint='b', min_score=0.1), 3)
    (tmp_path / 'info.json').write_text('[1]')
    with pytest.raises(ValueError, match='another run'):
        PartFiles(str(tmp_path), dict(checkpoint='a'), 3)


def test_a_damaged_part_is_named(tmp_path):
    parts = PartFiles(str(tmp_path), {}, 1)
    (tmp_path / '0000000.json').write_text('{"image": ')
    with pytest.raises(ValueError, match='0000000.json is damaged .*delete it and start again'):
        parts.read(0)
