"""The fuzzing tool: a short run finds nothing, and whatever a reader must not do is found."""
import importlib.util
import itertools
import json
import mmap
import os
import pickle
import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Payload

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not sys.platform.startswith('linux'), reason='fork, alarms and /proc')]


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('fuzz_readers', ROOT / 'tools/misc/fuzz_readers.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_reader_stands_a_short_run(tool, tmp_path, capsys):
    assert tool.main(['--files', '100', '--seed', '5', '--out', str(tmp_path / 'found')]) == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    for name in tool.READERS:
        words = next(line.split() for line in printed.splitlines() if line.startswith(name + ' '))
        assert words[1] == '100' and int(words[2]) + int(words[3]) == 100 and words[-1] == '0'
    assert f'{100 * len(tool.READERS)} files' in printed and not (tmp_path / 'found').exists()


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_damage_is_of_every_kind_and_follows_from_the_seed(tool):
    import random

    from fuzzing.mutations import mutate
    for reader in tool.READERS.values():
        others = list(reader.samples.values())
        for data in others:
            damaged = [mutate(data, random.Random(seed), others) for seed in range(80)]
            assert damaged == [mutate(data, random.Random(seed), others) for seed in range(80)]
            assert len(set(damaged)) > 40


def every_reader():
    """(name of the reader, name of a sample) of all that the tool knows."""
    sys.path.insert(0, str(ROOT / 'tools/misc'))
    try:
        from fuzzing.readers import READERS
    finally:
        sys.path.remove(str(ROOT / 'tools/misc'))
    return [(name, sample) for name, reader in READERS.items() for sample in reader.samples]


@pytest.mark.parametrize('name, sample', every_reader())
def test_a_payload_given_to_any_reader_runs_nothing(name, sample, tool, tmp_path, trap):
    """A pickle that makes a folder when it is loaded, in place of the file."""
    folder = tmp_path / 'files'
    folder.mkdir()
    path = folder / sample
    path.write_bytes(pickle.dumps(Payload(trap)))
    reader = tool.READERS[name]
    if name == 'cue_cache':  # computed again
        reader.read(path)
    else:
        with pytest.raises((ValueError, OSError), match=re.escape(str(folder))):
            reader.read(path)
    assert {found.name for found in folder.iterdir()} <= {sample, *reader.makes}


def parse(path):
    json.loads(path.read_text())


def refuse(path):
    raise ValueError(f'{path} is refused')


BAD = {
    'wrong kind of error: KeyError': lambda path: {}['a'],
    'does not name the file: ValueError': lambda path: int('x'),
    'process ended 3': lambda path: os._exit(3),
    'not reading: os.mkdir': lambda path: os.makedirs(path.parents[1] / 'outside', exist_ok=True),
    'not reading: left': lambda path: (path.parent / 'left').write_text(''),
    'not reading: open': lambda path: open(path.parents[1] / 'written', 'w').close(),
    'not reading: socket.connect': lambda path: socket.socket().connect_ex(('127.0.0.1', 9)),
    'more than 1 s': lambda path: sum(1 for _ in itertools.count()),
    # fresh pages: what the allocator kept of earlier tests would not count
    'memory': lambda path: np.frombuffer(mmap.mmap(-1, 3 * 10**8), np.uint8).fill(1),
}


@pytest.mark.parametrize('key', BAD)
def test_what_a_reader_must_not_do_is_found(key, tool, tmp_path, monkeypatch):
    from fuzzing import watched
    from fuzzing.readers import Reader
    monkeypatch.setattr(watched, 'SECONDS', 1)
    monkeypatch.setattr(watched, 'GROWTH', 2**25)
    valid = b'[1]'

    def read(path):  # the untouched sample, which is read first, is no finding
        if path.read_bytes() != valid:
            BAD[key](path)
            refuse(path)

    tally = watched.Tally()
    watched.watch(Reader({'a.txt': valid}, read), tally, tmp_path / 'scratch', 'seed', 2)
    assert list(tally.findings)[0].startswith(key), tally.findings
    finding = next(iter(tally.findings.values()))
    assert finding.name == 'a.txt' and finding.data != valid
    assert not (tmp_path / 'scratch').exists()


def test_findings_are_kept_and_the_exit_status_tells(tool, tmp_path, capsys, monkeypatch):
    from fuzzing.readers import Reader
    monkeypatch.setitem(tool.READERS, 'image_list', Reader({'a.json': b'{"a": 1}'}, parse))
    out = tmp_path / 'found'
    assert tool.main(['--files', '30', '--reader', 'image_list', '--out', str(out)]) == 1
    assert 'does not name the file: JSONDecodeError' in capsys.readouterr().out
    kept = [path.name for path in out.rglob('*') if path.is_file()]
    assert set(kept) == {'a.json', 'finding.txt'}
