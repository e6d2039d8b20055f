import pytest


@pytest.fixture
def tree(tmp_path):
    """``tree({name: text or bytes})`` writes files below ``tmp_path``, and gives that as text."""
    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path)

    return write
