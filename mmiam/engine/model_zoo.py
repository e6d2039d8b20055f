"""The model index: what each config is, what it measured, and where its weights are.

``model-index.yml`` imports the ``metafile.yml`` files (the model-index schema of OpenMMLab). A model with weights has
``Weights`` (an address, or the path of a file in the package) and ``Metadata.SHA256``; one without ``Weights`` has none
published.
"""
from __future__ import annotations

from pathlib import Path

import yaml
from pooch import file_hash

from mmiam.utils.download import fetch
from mmiam.utils.files import atomic_write

_PACKAGE = Path(__file__).parents[1]


def find_index() -> Path:
    """The index of the checkout, or of the installed package (``mmiam/.mim``).

    Raises:
        FileNotFoundError: if there is neither.
    """
    for folder in (_PACKAGE.parent, _PACKAGE / '.mim'):
        if (folder / 'model-index.yml').is_file():
            return folder / 'model-index.yml'
    raise FileNotFoundError(f'no model-index.yml beside the package in {_PACKAGE.parent} or in {_PACKAGE / ".mim"}; '
                            'install mmiam from its checkout or its wheel')


def load_models(index: str | Path | None = None) -> dict[str, dict]:
    """All models of an index by name.

    Args:
        index (str | Path, optional): a ``model-index.yml``; :func:`find_index` by default.

    Returns:
        dict[str, dict]: name -> entry of the metafile, with ``Config`` relative to the index's folder.

    Raises:
        FileNotFoundError: if the index or a metafile in it is missing.
        ValueError: if a file is not of the schema, leads out of the index's folder, or a name stands twice.
    """
    index = Path(index) if index is not None else find_index()
    models: dict[str, dict] = {}
    for entry in _entries(index, 'Import'):
        metafile = _inside(index.parent, entry, index)
        for model in _entries(metafile, 'Models'):
            if not isinstance(model, dict) or not isinstance(model.get('Name'), str):
                raise ValueError(f"{metafile}: every entry of 'Models' needs a 'Name'")
            if model['Name'] in models:
                raise ValueError(f"{metafile}: the model {model['Name']!r} stands twice in the index")
            if 'Config' in model:
                _inside(index.parent, model['Config'], metafile)
            models[model['Name']] = model
    return models


def fetch_weights(name: str, folder: str | Path | None = None, index: str | Path | None = None,
                  progress: bool = True) -> str:
    """A local copy of the weights of a model.

    Args:
        name (str): of a model of the index.
        folder (str | Path, optional): where to; the cache folder by default.
        index (str | Path, optional): a ``model-index.yml``; :func:`find_index` by default.
        progress (bool): show a bar.

    Returns:
        str: path of the file.

    Raises:
        ValueError: if there is no such model or it has no weights, or their sha256 is wrong or not stated.
        OSError: as of :func:`mmiam.utils.download.fetch`.
    """
    models = load_models(index)
    if name not in models:
        raise ValueError(f'no model {name!r} in the index; there are {", ".join(sorted(models))}')
    model = models[name]
    if not model.get('Weights'):
        raise ValueError(f'no weights of {name} are published; train them: python tools/train.py {model["Config"]}')
    sha256 = (model.get('Metadata') or {}).get('SHA256')
    if not sha256:
        raise ValueError(f"the metafile states no 'Metadata: SHA256' of the weights of {name}; they are not fetched "
                         'without one')
    if '://' in str(model['Weights']):
        return fetch(str(model['Weights']), str(sha256), folder, progress)
    return _packaged(str(model['Weights']), str(sha256), folder)


def _packaged(relative: str, sha256: str, folder: str | Path | None) -> str:
    """The file of weights that the package holds, or a copy of it in ``folder``."""
    path = _inside(_PACKAGE.parent, relative, Path('model-index.yml'))
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing: install mmiam again')
    if file_hash(path) != sha256.lower():
        raise ValueError(f'{path} has another sha256 than the model index states: install mmiam again')
    if folder is None:
        return str(path)
    atomic_write(Path(folder) / path.name, path.read_bytes())
    return str(Path(folder) / path.name)


def _entries(path: Path, key: str) -> list:
    """The list under ``key`` of a yaml file; yaml's safe loader builds plain values only."""
    try:
        with open(path, encoding='utf-8') as file:
            content = yaml.safe_load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path} does not exist') from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f'{path} is no yaml of plain values ({error})') from None
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f'{path} must have a list under {key!r}')
    return entries


def _inside(folder: Path, relative, source: Path) -> Path:
    """``folder / relative``, which must not lie elsewhere."""
    if not isinstance(relative, str) or Path(relative).is_absolute() or '..' in Path(relative).parts:
        raise ValueError(f'{source}: {relative!r} must be a path below {folder}')
    return folder / relative
