"""Give every reader damaged and hostile files, and see that each is read or refused by name, and nothing else happens.

    python tools/misc/fuzz_readers.py --minutes 60
    python tools/misc/fuzz_readers.py --reader proposals --minutes 5 --seed 7

Files of each kind that mmiam reads are damaged at random (bits, cuts, splices, hostile values, also inside archives,
PNG and json). What else a reader did is listed and the file kept in --out; the exit status is 1 then.
"""
from __future__ import annotations

import argparse
import itertools
import re
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

sys.path.insert(0, str(Path(__file__).parent))
from fuzzing.readers import READERS  # noqa: E402
from fuzzing.watched import Tally, watch  # noqa: E402

BATCH = 500  # files a process reads


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--minutes', type=float, default=1., help='time for all readers together (default: 1)')
    length.add_argument('--files', type=int, help='a number of files for each reader instead')
    parser.add_argument('--reader', nargs='+', choices=sorted(READERS), metavar='NAME', default=list(READERS),
                        help=f'some of {", ".join(READERS)} (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='decides about the damage (default: 0)')
    parser.add_argument('--out', default='fuzz_findings', help='folder for files that led to a finding')
    return parser.parse_args(argv)


def keep(folder: Path, reader: str, tally: Tally) -> None:
    """Print the findings of a reader and keep their files."""
    for key, finding in tally.findings.items():
        print(f'\n{reader}: {key} ({tally.repeats[key]} times)\n{finding.text}')
        target = folder / reader / re.sub(r'[^\w.]+', '_', key)[:80]
        target.mkdir(parents=True, exist_ok=True)
        (target / finding.name).write_bytes(finding.data)
        (target / 'finding.txt').write_text(f'{key}\n{finding.text}')


def main(argv=None) -> int:
    args = parse_args(argv)
    tallies = {name: Tally() for name in args.reader}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, Progress(transient=True) as bar:
        task = bar.add_task('files', total=len(tallies) * args.files if args.files else None)
        for batch in itertools.count():
            for name, tally in tallies.items():
                left = args.files - batch * BATCH if args.files else BATCH
                if left > 0 and (args.files or time.monotonic() - begun < 60 * args.minutes):
                    watch(READERS[name], tally, Path(scratch) / name, f'{args.seed}/{name}/{batch}', min(BATCH, left))
                    bar.update(task, completed=sum(tally.files for tally in tallies.values()))
            if (batch + 1) * BATCH >= args.files if args.files else time.monotonic() - begun >= 60 * args.minutes:
                break
    print(f'{"reader":20s} {"files":>8s} {"read":>8s} {"refused":>8s} {"slowest, s":>10s} {"MiB":>6s} findings')
    for name, tally in tallies.items():
        print(f'{name:20s} {tally.files:8d} {tally.read:8d} {tally.refused:8d} {tally.slowest:10.2f} '
              f'{tally.memory / 2**20:6.0f} {len(tally.findings)}')
    print(f'{sum(tally.files for tally in tallies.values())} files in {(time.monotonic() - begun) / 60:.1f} minutes')
    for name, tally in tallies.items():
        keep(Path(args.out), name, tally)
    return int(any(tally.findings for tally in tallies.values()))


if __name__ == '__main__':
    sys.exit(main())
