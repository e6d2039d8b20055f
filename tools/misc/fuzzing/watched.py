"""A process that reads damaged files, and notices whatever a reader must not do.

Allowed are two ends: the file is read, or it is refused by a ``ValueError`` or an ``OSError`` that names it. Anything
else is a finding: other exceptions, messages that do not name the file, more than a few seconds of computing, memory
that a small file cannot need, the end of the process, and (by Python's audit events) writing, deleting, starting or
connecting anything and looking up what a pickle names.
"""
from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .mutations import mutate
from .readers import Reader

SECONDS = 10  # of CPU time for one file
PATIENCE = 600  # seconds of waiting for one file, where it takes no CPU time
GROWTH = 2**31  # bytes of memory that one file may add; Pillow's limit on pixels makes a few arrays of 179 million
LIMIT = 6 * 2**30  # of address space, so that the machine survives what is found
#: audit events that no reader causes
FORBIDDEN = {'os.system', 'os.exec', 'os.fork', 'os.posix_spawn', 'os.kill', 'os.putenv', 'os.symlink', 'os.link',
             'shutil.unpack_archive', 'subprocess.Popen', 'socket.connect', 'socket.bind', 'socket.getaddrinfo',
             'urllib.Request', 'ftplib.connect', 'pty.spawn', 'webbrowser.open'}
#: audit events of changes, none of which happens outside of the reader's folder
CHANGES = {'os.mkdir', 'os.rename', 'os.remove', 'os.rmdir', 'os.chmod', 'os.chown', 'os.truncate', 'os.utime',
           'shutil.rmtree', 'shutil.move', 'shutil.copyfile'}


@dataclass
class Finding:
    """What a reader did that it must not do: a key (equal for equal causes), a description, the file's bytes."""
    key: str
    text: str
    name: str
    data: bytes


@dataclass
class Tally:
    """Counts of one reader; ``slowest`` in seconds of CPU time, ``memory`` in bytes added by the worst file."""
    read: int = 0
    refused: int = 0
    slowest: float = 0.
    memory: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    repeats: Counter = field(default_factory=Counter)

    @property
    def files(self) -> int:
        return self.read + self.refused + sum(self.repeats.values())

    def add(self, finding: Finding) -> None:
        self.findings.setdefault(finding.key, finding)
        self.repeats[finding.key] += 1


class _TooLong(BaseException):
    """So that no reader catches it."""


def watch(reader: Reader, tally: Tally, folder: Path, seed: str, count: int) -> None:
    """Have a child process read ``count`` damaged files and add what happened to ``tally``.

    Args:
        reader (Reader): what is tried.
        tally (Tally): is added to.
        folder (Path): an empty folder of the child's; emptied afterwards.
        seed (str): decides about all damage.
        count (int): files.
    """
    context = multiprocessing.get_context('fork')
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(reader, folder, seed, count, there))
    child.start()
    there.close()
    started, done, used, since = '', False, 0., time.monotonic()
    while not done:
        try:
            if not here.poll(1):
                if _cpu_seconds(child.pid) - used > 3 * SECONDS or time.monotonic() - since > PATIENCE:
                    child.kill()
                    tally.add(_of_file('hang', f'more than {3 * SECONDS} s outside of Python', folder, started))
                    break
                continue
            kind, *content = here.recv()
        except EOFError:
            child.join()
            tally.add(_of_file(f'process ended {child.exitcode}', 'the process ended', folder, started))
            break
        if kind == 'start':
            (started, used), since = content, time.monotonic()
        elif kind == 'finding':
            tally.add(content[0])
        elif kind == 'done':
            done = True
        else:
            setattr(tally, kind, getattr(tally, kind) + 1)
            tally.slowest = max(tally.slowest, content[0])
            tally.memory = max(tally.memory, content[1])
    child.join()
    here.close()
    shutil.rmtree(folder, ignore_errors=True)


def _of_file(key: str, text: str, folder: Path, name: str) -> Finding:
    path = folder / name
    return Finding(f'{key} {name}', text, name, path.read_bytes() if name and path.is_file() else b'')


def _child(reader: Reader, folder: Path, seed: str, count: int, pipe) -> None:
    events: list[str] = []
    state = dict(watching=False)

    def audit(event, arguments):
        if state['watching'] and (event in FORBIDDEN or (event == 'pickle.find_class' and not reader.pickles)
                                  or (event in CHANGES or event == 'open' and _writes(arguments))
                                  and not _inside(arguments, folder)):
            events.append(f'{event} {str(arguments)[:200]}')

    def too_long(*_):
        raise _TooLong

    folder.mkdir(parents=True)
    os.chdir(folder)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGPROF, too_long)
    for name, data in reader.samples.items():  # what is imported on first use is no finding
        (folder / name).write_bytes(data)
        reader.read(folder / name)
        (folder / name).unlink()
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + LIMIT, ) * 2)
    sys.addaudithook(audit)
    rng = random.Random(seed)
    names, others = list(reader.samples), list(reader.samples.values())
    for _ in range(count):
        name = rng.choice(names)
        data = mutate(reader.samples[name], rng, others)
        path = folder / name
        path.write_bytes(data)
        pipe.send(('start', name, time.process_time()))
        before, begun = _peak(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcome, finding = 'read', None
        try:
            state['watching'] = True
            reader.read(path)
        except (ValueError, OSError) as error:
            outcome = 'refused'
            if str(folder) not in str(error):
                finding = _of_error('does not name the file', error, name, data)
        except _TooLong as error:
            finding = _of_error(f'more than {SECONDS} s', error, name, data)
        except BaseException as error:  # all of them are what is looked for
            finding = _of_error('wrong kind of error', error, name, data)
        finally:
            state['watching'] = False
            signal.setitimer(signal.ITIMER_PROF, 0)
        growth = _peak() - before
        left = [entry.name for entry in folder.iterdir() if entry.name not in (name, *reader.makes)]
        if events or left:
            finding = Finding(f'not reading: {(events or left)[0]}', f'{events} {left}', name, data)
            events.clear()
            for entry in left:
                shutil.rmtree(folder / entry, ignore_errors=True)
                (folder / entry).unlink(missing_ok=True)
        elif growth > GROWTH and finding is None:
            finding = Finding(f'memory {name}', f'{growth / 2**20:.0f} MiB', name, data)
        if finding:
            pipe.send(('finding', finding))
        else:
            pipe.send((outcome, time.process_time() - begun, growth))
        path.unlink()
    pipe.send(('done', ))


def _of_error(kind: str, error: BaseException, name: str, data: bytes) -> Finding:
    """A finding whose key is the kind of error and the innermost line of this package on the way to it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if '/mmiam/' in frame.filename] or frames
    where = f'{Path(ours[-1].filename).name}:{ours[-1].lineno}' if ours else '?'
    text = ''.join(traceback.format_exception(error, limit=-8))
    return Finding(f'{kind}: {type(error).__name__} at {where}', text[-4000:], name, data)


def _writes(arguments) -> bool:
    """Whether an ``open`` event is for writing (its mode, or the flags of ``os.open``)."""
    path, mode, flags = arguments
    if path == os.devnull or isinstance(path, int):
        return False
    if isinstance(mode, str):
        return any(letter in mode for letter in 'wax+')
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _inside(arguments, folder: Path) -> bool:
    """Whether all paths of an audit event lie in a folder."""
    paths = [os.fsdecode(value) for value in arguments if isinstance(value, (str, bytes, os.PathLike))]
    return all(os.path.realpath(path).startswith(str(folder)) for path in paths if path not in ('r', 'w', 'wb'))


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:  # it has just ended
        return 0.
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
