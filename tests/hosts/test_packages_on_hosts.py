"""Installed packages that a function imports are compared before its first item."""
# ruff: noqa: PLW0108 (functions of this file, which are sent, use the package)

import importlib
import sys
import warnings
from pathlib import Path

import pytest

import nbpar
from nbpar.errors import MissingPackagesError, PackageVersionWarning


def install(site, name, version):
    """Install a package as pip leaves it."""
    package, facts = site / name, site / f"{name}-{version}.dist-info"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(f"VERSION = {version!r}\ndef f(x):\n    return x, VERSION\n")
    facts.mkdir(exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def pool(stage):
    with (
        nbpar.Cluster.ssh("one", 1, command=stage.command, start_timeout=100) as cluster,
        nbpar.Pool(cluster=cluster) as made,
    ):
        yield made


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages that only this host has."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    yield site
    for name in [name for name in sys.modules if name.startswith("boxed_")]:
        del sys.modules[name]


def install_there(folder, name, version):
    install(Path(folder, "site-packages"), name, version)
    sys.path.append(str(Path(folder, "site-packages")))


def remove_there(folder):
    import shutil

    shutil.rmtree(folder)


@pytest.fixture
def there(pool):
    folder = "/tmp/nbpar-their-packages"
    yield lambda name, version: pool.each(install_there, folder, name, version)
    pool.each(remove_there, folder)


@pytest.mark.parametrize("way", ["names it", "imports it", "uses a module that imports it"])
def test_a_package_that_is_missing_there_is_named_with_host_python_and_command(
    pool, site, tmp_path, monkeypatch, way
):
    install(site, "boxed_one", "1.2")
    import boxed_one

    def imports(x):
        import boxed_one

        return boxed_one.f(x)

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "boxed_user.py").write_text("from boxed_one import f\ndef g(x):\n    return f(x)\n")
    functions = {
        "names it": lambda x: boxed_one.f(x),
        "imports it": imports,
        "uses a module that imports it": importlib.import_module("boxed_user").g,
    }

    with pytest.raises(MissingPackagesError) as raised:
        pool.map(functions[way], range(2))

    text = str(raised.value)
    assert "imports `boxed_one`, which Python" in text
    assert "on one does not have" in text
    assert f"`{sys.executable} -m pip install boxed_one==1.2`" in text
    assert [line.split() for line in text.splitlines()[1:3]] == [
        ["package", "here", "there"],
        ["boxed_one", "1.2", "missing"],
    ]


def test_an_import_that_is_guarded_may_fail_there(pool, site):
    install(site, "boxed_two", "1.0")

    def careful(x):
        try:
            import boxed_two
        except ImportError:
            return x
        return boxed_two

    assert pool.map(careful, range(3)) == [0, 1, 2]


def test_a_package_that_is_installed_there_later_is_found(pool, site, there):
    install(site, "boxed_three", "1.0")
    import boxed_three

    with pytest.raises(MissingPackagesError):
        pool.map(lambda x: boxed_three.f(x), [0])
    there("boxed_three", "1.0")

    assert pool.map(lambda x: boxed_three.f(x), [0]) == [(0, "1.0")]


def test_another_version_there_is_a_warning_that_comes_once(pool, site, there):
    install(site, "boxed_four", "1.2")
    import boxed_four

    there("boxed_four", "1.1")

    with pytest.warns(PackageVersionWarning, match="has other versions of packages") as told:
        assert pool.map(lambda x: boxed_four.f(x), [0]) == [(0, "1.1")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool.map(lambda x: boxed_four.f(x), [1])

    assert "\n  boxed_four  1.2   1.1" in str(told[0].message)
