"""Journals where the home folder cannot be written to, or there is none."""

from __future__ import annotations

import pytest

import nbpar
from nbpar.journal.paths import path_of

ADVICE = "set the environment variable NBPAR_JOURNALS to a folder that you may write to"


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()  # below which no folder can be made, not even by root
    monkeypatch.delenv("NBPAR_JOURNALS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))

    with pytest.raises(nbpar.JournalError, match=rf"'job' cannot be kept: .*file.*nbpar.*journals.*{ADVICE}"):
        nbpar.map(abs, [1], backend="serial", resume="job")


@pytest.mark.skipif("sys.platform == 'win32'")
def test_a_user_without_a_home_is_told_where_to_put_them(monkeypatch):
    for variable in ("NBPAR_JOURNALS", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 2)

    with pytest.raises(nbpar.JournalError, match=rf"no place for journals: .*home.*{ADVICE}"):
        path_of("job")
