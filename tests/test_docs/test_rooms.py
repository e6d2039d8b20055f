"""The rooms in docs/design.md and their arrows are those of the imports."""
import ast
import re

from support import ROOT


def imported_rooms(path):
    """Other rooms of the package that a file imports from."""
    parts = path.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ['.'.join([*parts[:len(parts) - node.level], node.module or ''] if node.level else [node.module])]
        else:
            continue
        for name in names:
            room = re.match(r'mmiam\.(\w+)', name)
            if room and room[1] not in (parts[1], 'version'):
                yield room[1]


def test_arrows():
    rows = re.findall(r'^\| `(\w+)` \| .* \| (.*) \|$', (ROOT / 'docs/design.md').read_text(), flags=re.MULTILINE)
    plan = {room: re.findall(r'`(\w+)`', imports) for room, imports in rows}
    assert set(plan) == {path.parent.name for path in ROOT.glob('mmiam/*/__init__.py')}
    order = list(plan)
    for room, planned in plan.items():
        found = {other for path in (ROOT / 'mmiam' / room).rglob('*.py') for other in imported_rooms(path)}
        assert found == set(planned), f'{room} imports {sorted(found)}: change docs/design.md, or better the import'
        assert all(order.index(other) < order.index(room) for other in planned)
