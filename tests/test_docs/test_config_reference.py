"""docs/config_reference.md says what the code says."""
import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import mmdet.registry as mmdet_registry
import mmengine.registry as mmengine_registry
import pytest

PAGE = Path(__file__).parents[2] / 'docs/config_reference.md'
TOOL = 'tools/misc/config_reference.py'


def classes():
    """All registered classes of the package, found without the tool."""
    found = {}
    for module in (mmengine_registry, mmdet_registry):
        for registry in vars(module).values():
            if not isinstance(registry, mmengine_registry.Registry):
                continue
            for name, cls in registry.module_dict.items():
                if isinstance(cls, type) and cls.__module__.startswith('mmiam.') and name[0].isupper():
                    found[name] = cls
    return found


def test_page_is_up_to_date(call_tool):
    assert call_tool(TOOL, '--check') == 0


def test_an_old_page_is_noticed(call_tool, tmp_path, monkeypatch, capsys):
    read = Path.read_text
    monkeypatch.setattr(Path, 'read_text', lambda path, **kwargs: read(path, **kwargs).replace('| `5` |', '| `6` |'))
    assert call_tool(TOOL, '--check') == 1
    assert 'is not what the code says' in capsys.readouterr().err


@pytest.mark.parametrize('name', sorted(classes()))
def test_every_argument_stands_there_with_its_default(name):
    section = re.search(rf'^### {name}\n(.*?)(?=^##|\Z)', PAGE.read_text(), re.MULTILINE | re.DOTALL).group(1)
    rows = dict(re.findall(r'^\| `(\w+)` \| ((?:\\\||[^|])*) \| (?:\\\||[^|])+ \|$', section, re.MULTILINE))
    for key, parameter in list(inspect.signature(classes()[name].__init__).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = parameter.default
        default = dict(default) if isinstance(default, Mapping) else default
        expected = 'needed' if default is parameter.empty else f'`{default!r}`'
        assert rows.get(key) == expected.replace('|', '\\|'), key


def test_there_are_many():
    assert len(classes()) > 30
