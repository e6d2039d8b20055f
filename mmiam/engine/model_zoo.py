"""The model index: what each config is, what results it gave, and where its weights are.

``model-index.yml`` imports the ``metafile.yml`` files (in the model-index schema of OpenMMLab). A model with published
weights has ``Weights`` (an address, or the path of a file in the package) and ``Metadata.SHA256``; one whose weights
are not published has no ``Weights``.
"""
from __future__ import annotations

from pathlib import Path

import yaml
from pooch import file_hash

from mmiam.utils.download import fetch
from mmiam.utils.files import atomic_write

_PACKAGE = Path(__file__).parents[1]


def find_index() -> Path:
    """Find the index of the checkout, or else that of the installed package (``mmiam/.mim``).

    Raises:
        FileNotFoundError: if there is none.
    """
    for folder in (_PACKAGE.parent, _PACKAGE / '.mim'):
        if (folder / 'model-index.yml').is_file():
            return folder / 'model-index.yml'
    raise FileNotFoundError(f'no model-index.yml beside the package in {_PACKAGE.parent} or in {_PACKAGE / ".mim"}; '
                            'install mmiam from its checkout or its wheel')


def load_models(index: str | Path | None = None) -> dict[str, dict]:
    """Load all models of an index by name.

    Args:
        index (str | Path, optional): a ``model-index.yml``; by default that of :func:`find_index`.

    Returns:
        dict[str, dict]: name -> entry of the metafile, with ``Config`` relative to the index's folder.

    Raises:
        FileNotFoundError: if the index or a metafile in it is missing.
        ValueError: if a file violates the schema or points outside the index's folder, or a name occurs twice.
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
    """Fetch the weights of a model and return the path of the local file.

    Args:
        name (str): name of a model in the index.
        folder (str | Path, optional): folder for the file. By default, downloads go to the cache folder, and weights in
            the package stay where they are.
        index (str | Path, optional): a ``model-index.yml``; by default that of :func:`find_index`.
        progress (bool): show a progress bar.

    Returns:
        str: path of the file.

    Raises:
        ValueError: if there is no such model, it has no weights, or their sha256 is wrong or not stated.
        FileNotFoundError: if the package lacks the file of weights.
        OSError: see :func:`mmiam.utils.download.fetch`.
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
    """Return the path of weights in the package, or of a copy of them in ``folder``."""
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
    """Read the list under ``key`` of a YAML file; YAML's safe loader builds plain values only."""
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
    """Return ``folder / relative``; raise a ValueError if that lies outside ``folder``."""
    if not isinstance(relative, str) or Path(relative).is_absolute() or '..' in Path(relative).parts:
        raise ValueError(f'{source}: {relative!r} must be a path below {folder}')
    return folder / relative
