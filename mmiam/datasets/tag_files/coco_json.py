"""Tags in COCO json."""
from __future__ import annotations

from mmiam.utils.files import read_json

from .names import TaggedImage, TaggedImages, clean_class_name, safe_name


def read_coco(path: str) -> TaggedImages:
    """Read the category ids in COCO json, from each image's ``category_ids``, from its ``annotations``, or from both.

    Nothing else in an annotation is used, so any COCO file will do; boxes and masks stay unread. An id may be a number
    in one list and a text in another.

    Raises:
        ValueError: if the content is malformed; names the key at fault, e.g. ``annotations[3].category_id``.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}; COCO json is an object with images and categories')
    names: dict[str, str] = {}  # of categories, by their keys
    ids: dict[str, int | float | str] = {}
    for position, item in enumerate(_items(path, content, 'categories')):
        key, name = _key(item.get('id')), item.get('name')
        name = clean_class_name(name) if isinstance(name, str) else ''
        if key is None or key in names or not name or name in ids:
            raise ValueError(f'{path}: categories[{position}] is {item!r}; give each category an id and a name of '
                             'its own (1 and "1" are one id)')
        names[key], ids[name] = name, item['id']
    if not names:
        raise ValueError(f'{path}: categories is empty; list the classes with id and name')
    images: dict[str, TaggedImage] = {}
    known: dict[str, int] = {}
    for position, item in enumerate(_items(path, content, 'images')):
        where = f'{path}: images[{position}]'
        key = _key(item.get('id'))
        if key is None or key in images:
            raise ValueError(f'{where}.id is {item.get("id")!r}; give each image an id of its own, a whole number or a '
                             'text (1 and "1" are one id)')
        name = safe_name(item.get('file_name'), f'{where}.file_name')
        if known.setdefault(name, position) != position:
            raise ValueError(f'{where}.file_name {name!r} is that of images[{known[name]}]; list an image once')
        images[key] = TaggedImage(name, [], item['id'])
        given = item.get('category_ids', [])
        if not isinstance(given, list):
            raise ValueError(f'{where}.category_ids is {given!r}; it must be a list of category ids')
        for number, category in enumerate(given):
            _add_tag(images[key], names, category, f'{where}.category_ids[{number}]')
    for position, item in enumerate(_items(path, content, 'annotations', needed=False)):
        where = f'{path}: annotations[{position}]'
        image = images.get(_key(item.get('image_id')))  # type: ignore[arg-type]
        if image is None:
            raise ValueError(f'{where}.image_id {item.get("image_id")!r} is not the id of an image; add the image or '
                             'remove the annotation')
        _add_tag(image, names, item.get('category_id'), f'{where}.category_id')
    if not images:
        raise ValueError(f'{path}: images is empty; list the images with id and file_name')
    return TaggedImages(list(images.values()), tuple(ids), ids)


def _items(path: str, content: dict, key: str, needed: bool = True) -> list[dict]:
    items = content.get(key, None if needed else [])
    if not isinstance(items, list):
        raise ValueError(f'{path}: {key} is {"missing" if items is None else "no list"}; COCO json has a list there')
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f'{path}: {key}[{position}] is {item!r}; it must be an object')
    return items


def _key(value) -> str | None:
    """Return the form in which ids are compared, or None if it is not an id: converters write 1, "1" or 1.0 for one."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _add_tag(image: TaggedImage, names: dict[str, str], category, where: str) -> None:
    name = names.get(_key(category))  # type: ignore[arg-type]
    if name is None:
        raise ValueError(f'{where} is {category!r}, which is not the id of a category; add it to categories or '
                         'remove it')
    if name not in image.tags:
        image.tags.append(name)
