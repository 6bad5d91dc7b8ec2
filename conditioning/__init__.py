"""Conditioning: the nine ways. One file is one method, its folder is its family, and importing this reads them all.

A method file that does not import fails the start: a menu that silently lacks an entry is worse.
"""

from importlib import import_module
from pathlib import Path

_here = Path(__file__).parent
for _file in sorted([*_here.glob("network/*/*.py"), *_here.glob("sampling/*/**/*.py")]):
    _parts = _file.relative_to(_here).with_suffix("").parts
    import_module(".".join([__name__, *_parts]).removesuffix(".__init__"))
