"""The user's sources as they were when a server was started, or upgraded: every process runs these.

A file may be edited, or be gone, while its old text serves; a worker that is started again must not bring the
new one. So whoever loads the job first keeps the bytes of each module that is the user's, as they are read
to be run, and hands them on in one file. Modules that were not loaded then come from disk, as ever.

Never decides which job is loaded, nor when. Called by ``jobs``, and by the processes that hand a file on.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from mini_flink.errors import MiniFlinkError, storage_error
from mini_flink.source import is_users, keep_text


class _Module(NamedTuple):
    file: str
    source: bytes


def path_of(runtime_dir: str, generation: int) -> str:
    """Where what a generation has read of the user's files is written."""
    return os.path.join(runtime_dir, f"sources.g{generation}")


class PinnedSources:
    """What was read of the user's modules, by their names: a finder that gives, and keeps, these bytes."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}

    @classmethod
    def read(cls, path: str) -> PinnedSources:
        """What ``write`` has written there; nothing yet if there is no such path."""
        sources = cls()
        if not path:
            return sources
        try:
            content = json.loads(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise MiniFlinkError(
                f"{path} cannot be read: {error}", help="nobody but the server may touch its runtime folder"
            ) from error
        for name, (file, source) in content.items():
            sources._modules[name] = _Module(file, base64.b64decode(source))
        return sources

    def write(self, runtime_dir: str, generation: int) -> str:
        """Hand them on to the processes of a generation; the path."""
        path = path_of(runtime_dir, generation)
        content = {
            name: [module.file, base64.b64encode(module.source).decode()]
            for name, module in list(self._modules.items())  # more may be read meanwhile, see resharder
        }
        try:
            with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(content, file)
            os.replace(f"{path}.new", path)
        except OSError as error:
            raise storage_error(path, error) from error
        return path

    def texts(self) -> dict[str, bytes]:
        """What was read, by file."""
        return {module.file: module.source for module in self._modules.values()}

    def install(self) -> None:
        """From now on the user's modules come from here."""
        # Built-in modules go before the user's files, as they do without it.
        sys.meta_path.insert(sys.meta_path.index(PathFinder), self)

    def loader(self, name: str, file: str) -> PinnedLoader:
        """What loads a module of the user's."""
        return PinnedLoader(name, file, self)

    def data(self, name: str, file: str) -> bytes:
        """The source of a module: what is pinned, else what the file holds now, which it is from then on."""
        if name not in self._modules:
            self._modules[name] = _Module(file, Path(file).read_bytes())
        return self._modules[name].source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system asks: pinned modules, whatever is on the disk, and those that are to be."""
        if fullname in self._modules:
            file = self._modules[fullname].file
            return spec_from_file_location(fullname, file, loader=self.loader(fullname, file))
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            return self._vanished_folder(fullname)
        if type(spec.loader) is SourceFileLoader and spec.origin is not None and is_users(spec.origin):
            spec.loader = self.loader(fullname, spec.origin)
        return spec

    def _vanished_folder(self, name: str) -> ModuleSpec | None:
        """A folder without ``__init__.py`` that is gone, while modules in it are pinned."""
        if not any(module.startswith(f"{name}.") for module in self._modules):
            return None
        return ModuleSpec(name, None, is_package=True)


class PinnedLoader(SourceFileLoader):
    """Loads one module from pinned bytes, and shows their lines; its file stands in tracebacks as ever."""

    def __init__(self, name: str, file: str, sources: PinnedSources) -> None:
        super().__init__(name, file)
        self._sources = sources

    def get_data(self, path: str) -> bytes:
        """The pinned source; any other file as it is."""
        return self._sources.data(self.name, path) if path == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> CodeType | None:
        """Always compiled: what is cached beside a file belongs to what is in it now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def source_to_code(self, data: Any, path: Any) -> CodeType:  # type: ignore[override]
        """Compile it, and have its lines shown from now on."""
        code = super().source_to_code(data, path)
        keep_text(path, data)
        return code
