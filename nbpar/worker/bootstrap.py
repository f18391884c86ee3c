# mypy: ignore-errors
"""Start the worker loop on an engine, even if nbpar is not installed there.

The source of this file is sent and executed there, so it must run on any Python 3 and may
import the standard library only.
"""


def enter(settings):  # noqa: D103
    import sys

    here = "{}.{}".format(*sys.version_info[:2])
    if here != settings["python"]:
        raise RuntimeError(
            "the engine runs Python {0} and the client Python {1}: functions cannot travel between them; "
            "start the engines with Python {1}".format(here, settings["python"])
        )
    if not _has(settings["version"]):
        _install(settings["sources"])
    from nbpar.worker.engine import serve_engine

    serve_engine(settings)


def _has(version):
    """Whether this version of nbpar is available, installed or sent before."""
    try:
        import nbpar.worker.engine  # noqa: F401
        from nbpar.version import __version__
    except ImportError:
        return False
    return __version__ == version


def _install(packed):
    """Make modules importable from their source."""
    import importlib.abc
    import importlib.util
    import json
    import sys
    import zlib

    sources = json.loads(zlib.decompress(packed).decode())

    class Sent(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
        def find_spec(self, name, path=None, target=None):  # noqa: ARG002
            if name not in sources:
                return None
            package, _, origin = sources[name]
            spec = importlib.util.spec_from_loader(name, self, origin=origin, is_package=package)
            spec.has_location = True
            if package:
                spec.submodule_search_locations = []
            return spec

        def get_source(self, name):
            return sources[name][1]

        def get_code(self, name):
            return compile(sources[name][1], sources[name][2], "exec")  # marks its frames as nbpar's

        def is_package(self, name):
            return sources[name][0]

    for name in [name for name in sys.modules if name == "nbpar" or name.startswith("nbpar.")]:
        del sys.modules[name]
    sys.meta_path.insert(0, Sent())
