"""`sys.path` is divided into what every process of this interpreter has, and the user's folders."""

import sys
from pathlib import Path

from nbpar.host.import_path import environment_folders, user_folders


def test_each_entry_is_on_one_side(monkeypatch, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(sys.prefix)
    library = str(Path(sys.prefix) / "lib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "here", library, str(link / "lib"), 5, "/srv/theirs"])

    assert environment_folders() == [library, str(link / "lib")]
    assert user_folders() == [str(tmp_path), str(Path("here").resolve()), "/srv/theirs"]
