"""The argument `files` of clusters and pools."""

import os
from pathlib import Path

import pytest

import nbpar
from nbpar.cluster.files import parse_files


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "work" / "data").mkdir(parents=True)
    (tmp_path / "work" / "a.txt").touch()
    (tmp_path / "beside.txt").touch()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "source", "destination"),
    [
        ("data/", "work/data", "data"),
        (Path("data"), "work/data", "data"),
        ("a.txt", "work/a.txt", "."),
        ("../beside.txt", "beside.txt", "{here}"),
        ("~/work/data", "work/data", "~/work/data"),
        ("{here}/work/data", "work/data", "{here}/work/data"),
    ],
)
def test_paths_lead_to_the_same_place_there(here, path, source, destination):
    path = path if isinstance(path, Path) else path.format(here=here)

    assert parse_files([path]) == ((str(here / source), destination.format(here=here)),)


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ("data/", TypeError, r"files must be a list of paths, was 'data/'; write \['data/'\]"),
        (5, TypeError, "files must be a list of paths, was 5$"),
        ([5], TypeError, "files must be a list of paths, had 5$"),
        ([b"a"], TypeError, "files must be a list of paths, had b'a'$"),
        (["none"], FileNotFoundError, "files= names 'none', which does not exist in '.*work'"),
        ([""], FileNotFoundError, "files= names '', which does not exist"),
        ([f"{os.sep}no{os.sep}such"], FileNotFoundError, "files= names '/no/such', which does not exist$"),
    ],
)
def test_what_is_no_list_of_files_is_refused(files, error, words):
    with pytest.raises(error, match=words):
        nbpar.Cluster(1, files=files)


def test_a_pool_without_a_cluster_needs_none():
    with pytest.raises(ValueError, match="files= are for the other hosts of a cluster; it needs cluster="):
        nbpar.Pool(1, files=["a.txt"])
