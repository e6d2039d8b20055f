"""Write docs/config_reference.md: every argument of every registered class, from signatures and docstrings.

    python tools/misc/config_reference.py            # write the page
    python tools/misc/config_reference.py --check    # exit status 1 if the page is not what the code says
"""
from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import mmdet.registry
import mmengine.registry

import mmiam  # noqa: F401  (registers everything)
from mmiam.ops import conv_crf

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/config_reference.md'
#: registries in the order of the page, with their headings
REGISTRIES = dict(MODELS='Models', TASK_UTILS='Samplers and sources of boxes', DATASETS='Data sets',
                  TRANSFORMS='Steps of a pipeline', METRICS='Metrics', HOOKS='Hooks', VISUALIZERS='Visualizer')
HEAD = '''# Configuration reference

Every key of every registered class of mmiam, with its default and what its docstring says about it and its origin:
an equation (Eq.), section (Sec.) or table of the paper, the PRM reference, or "our choice" where the paper is silent.
Written by `python tools/misc/config_reference.py`; a test compares it with the code. Keys of mmdet's and mmengine's own
classes are theirs. A class is named by `type`, its keys stand beside it:
`sampler=dict(type='ProposalPseudoGTSampler', num_candidates=5)`. From the command line:
`--cfg-options model.sampler.num_candidates=9`.
'''


def registered() -> dict[str, dict[str, type]]:
    """Registry -> name -> class, of this package."""
    found: dict[str, dict[str, type]] = {}
    for registry in REGISTRIES:
        for package in (mmengine.registry, mmdet.registry):
            classes = getattr(package, registry).module_dict if hasattr(package, registry) else {}
            found.setdefault(registry, {}).update({
                name: cls for name, cls in classes.items()
                if isinstance(cls, type) and cls.__module__.startswith('mmiam.')})
    return found


def parameters(cls: type) -> dict[str, tuple[inspect.Parameter, type]]:
    """Arguments of a class, own ones first, then those that it hands on to classes of this package."""
    found: dict[str, tuple[inspect.Parameter, type]] = {}
    for base in cls.__mro__:
        if '__init__' not in base.__dict__ or not base.__module__.startswith('mmiam.'):
            continue
        own = list(inspect.signature(base.__init__).parameters.values())[1:]
        for parameter in own:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, (parameter, base))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in own):
            break
    return found


def described(cls: type) -> dict[str, str]:
    """Argument -> its text in the docstrings of a class and of its bases in this package; the class's own words win."""
    texts: dict[str, str] = {}
    for base in cls.__mro__:
        if base.__module__.startswith('mmiam.'):
            for doc in (base.__dict__.get('__doc__'), (base.__dict__.get('__init__') or base).__doc__):
                for name, text in _entries(inspect.cleandoc(doc or '')).items():
                    if not text.startswith('see :'):
                        texts.setdefault(name, text)
    return texts


def _entries(doc: str) -> dict[str, str]:
    """The entries below ``Args:`` of a docstring in Google style; ``a, b (int): …`` is one for each."""
    section = re.search(r'^Args:\n((?:    .*\n?|\n)+)', doc, re.MULTILINE)
    entries: dict[str, str] = {}
    for entry in re.findall(r'^    (\S.*(?:\n(?:     +.*| *$))*)', section.group(1) if section else '', re.MULTILINE):
        match = re.match(r'([\w, *`]+?)(?: \(([^:]*)\))?: (.*)', ' '.join(entry.split()))
        if match:
            kind = f'({match.group(2)}) ' if match.group(2) else ''
            for name in match.group(1).split(', '):
                entries[name.strip('*`')] = kind + match.group(3)
    return entries


def page() -> str:
    """The page.

    Raises:
        ValueError: naming the class, if an argument is not described in its docstring.
    """
    parts = [HEAD]
    missing = []
    for registry, classes in registered().items():
        parts.append(f'\n## {REGISTRIES[registry]}\n')
        for name, cls in sorted(classes.items()):
            first = ' '.join(inspect.cleandoc(cls.__doc__).split('\n\n')[0].split())
            parts.append(f'\n### {name}\n\n{first}\n')
            texts, rows = described(cls), []
            for key, (parameter, _) in parameters(cls).items():
                if key not in texts and key not in UNSAID:
                    missing.append(f'{cls.__module__}.{name}: {key}')
                rows.append(_row(parameter, texts.get(key) or UNSAID.get(key, '')))
            parts += _table(rows)
    if missing:
        raise ValueError('not in the docstring: ' + '; '.join(missing))
    parts.append('\n## Keys of `crf`\n\nArguments of `mmiam.ops.conv_crf`, in `ConvCRFPostProc(crf=dict(...))`.\n')
    texts = _entries(inspect.cleandoc(conv_crf.__doc__))
    parts += _table([_row(parameter, texts[key]) for key, parameter in inspect.signature(conv_crf).parameters.items()
                     if parameter.default is not parameter.empty])
    parts.append('\n## Variables of the environment\n\nRead by configs with `{{$NAME:default}}`.\n\n'
                 '| variable | default |\n| --- | --- |\n')
    parts += [f'| `{name}` | {_cell(f"`{default}`" if default else "needed or empty")} |\n'
              for name, default in variables()]
    return ''.join(parts)


#: what mmdet and mmengine say of keys that are only handed on
UNSAID = dict(init_cfg="mmengine's: where the parameters come from at first",
              data_preprocessor="mmdet's: normalisation, order of channels, padding",
              prefix="mmengine's: in front of the names of the figures",
              collect_device="mmengine's: `cpu` or `gpu`, where several processes bring their results together",
              collect_dir="mmengine's: folder for that", metainfo="mmdet's: class names and colours",
              data_prefix="mmdet's: folders below `data_root`", data_root="mmdet's: folder of the data set",
              ann_file="mmdet's: list of the images, below `data_root`")


def variables() -> list[tuple[str, str]]:
    """(name, default) of the environment variables that configs read."""
    texts = [path.read_text() for path in sorted((ROOT / 'configs').rglob('*.py'))]
    found = {match for text in texts for match in re.findall(r'\{\{\$(\w+):([^}]*)\}\}', text)}
    return sorted(found)


def _row(parameter: inspect.Parameter, text: str) -> str:
    default = parameter.default
    if isinstance(default, Mapping):
        default = dict(default)
    shown = 'needed' if default is parameter.empty else f'`{default!r}`'
    return f'| `{parameter.name}` | {_cell(shown)} | {_cell(text)} |'


def _table(rows: list[str]) -> list[str]:
    return ['\n| key | default | |\n| --- | --- | --- |\n' + '\n'.join(rows) + '\n'] if rows else []


def _cell(text: str) -> str:
    """Text of a docstring in a table: roles and double backticks as plain ones."""
    text = re.sub(r':\w+:`~?([^`]*)`', r'`\1`', text)
    return text.replace('``', '`').replace('|', '\\|')


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; compare')
    args = parser.parse_args(argv)
    text = page()
    if args.check:
        same = PAGE.is_file() and PAGE.read_text(encoding='utf-8') == text
        print(f'{PAGE} is as the code says' if same else f'{PAGE} is not what the code says: run this tool without '
              '--check', file=sys.stdout if same else sys.stderr)
        return int(not same)
    temporary = PAGE.with_suffix('.tmp')
    temporary.write_text(text, encoding='utf-8')
    temporary.replace(PAGE)
    print(PAGE)
    return 0


if __name__ == '__main__':
    sys.exit(main())
