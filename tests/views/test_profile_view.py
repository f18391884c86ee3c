"""The profile of a run as text and HTML."""

from __future__ import annotations

import linecache
import sysconfig
from base64 import b64decode
from pathlib import Path

import pytest

from nbpar.core.measures.profile import Place, Profile
from nbpar.views.profile import ProfileReport, is_of_user, shown_file

CELL = "/tmp/ipykernel_123/456.py"
LIBRARY = f"{sysconfig.get_paths()['stdlib']}/json/decoder.py"
SOURCE = ["def f(x):\n", "    a = <g>(x)\n", "    return a\n"]


@pytest.fixture
def profile(monkeypatch):
    monkeypatch.setitem(linecache.cache, CELL, (len("".join(SOURCE)), None, SOURCE, CELL))
    f, g = Place(CELL, "f", 1, 2), Place(LIBRARY, "decode<", 330, 337)
    return ProfileReport(Profile({(f, g): 3.0, (f._replace(line=3),): 1.0}, samples=400))


def test_a_profile_as_text_has_functions_and_the_lines_of_cells_with_their_shares(profile):
    assert repr(profile).splitlines() == [
        "profile: 4.0 s of items, 400 samples",
        "    self   total  function",
        "    75 %    75 %  decode< (json/decoder.py:330)",
        "    25 %   100 %  f (a cell:1)",
        "",
        "lines of a cell",
        "             1  def f(x):",
        "    75 %     2      a = <g>(x)",
        "    25 %     3      return a",
    ]


def test_only_the_users_lines_are_own_lines(profile):
    assert [(line.file, line.line) for line in profile.own_lines] == [(CELL, 2), (CELL, 3)]
    assert [row.function for row in profile.functions] == ["decode<", "f"]
    assert len(profile.lines) == 3


def test_a_profile_as_html_is_escaped_and_its_picture_is_an_image_that_says_what_it_shows(profile):
    html = profile._repr_html_()

    assert "a = &lt;g&gt;(x)" in html
    assert "decode&lt; (json/decoder.py:330)" in html
    assert "<g>" not in html
    assert (
        'alt="Time by function, callers below what they call. Of their own: decode&lt; 75 %; f 25 %"' in html
    )
    picture = b64decode(html.partition("base64,")[2].partition('"')[0]).decode()
    assert picture == profile.svg
    assert picture.count("<rect") == 2
    assert "decode&lt;" in picture


def test_narrow_functions_in_the_picture_have_short_names_or_none():
    f = Place("f.py", "a_function_with_quite_a_long_name" * 5, 1, 2)
    narrow = Place("g.py", "narrow", 1, 2)

    svg = ProfileReport(Profile({(f,): 99.0, (narrow,): 1.0}, samples=100)).svg

    assert "…</text>" in svg
    assert "narrow" not in svg


def test_a_profile_without_samples_says_why():
    profile = ProfileReport(Profile({}))

    assert repr(profile) == "profile: no samples; items of a few milliseconds in all are too short"
    assert "no samples" in profile._repr_html_()
    assert profile.folded() == ""


def test_a_profile_says_what_it_has_left_out():
    profile = ProfileReport(Profile({(Place("f.py", "f", 1, 2),): 3.0}, samples=4, left_out=1.0))

    assert "25 % in stacks that were too many to be kept" in repr(profile)


def test_of_long_functions_only_lines_with_samples_are_listed(tmp_path):
    file = str(tmp_path / "long.py")
    Path(file).write_text("def f():\n" + "    pass\n" * 500)
    line = Place(file, "f", 1, 400)

    text = repr(ProfileReport(Profile({(line,): 3.0}, samples=4)))

    assert [row.split()[:2] for row in text.splitlines()[-1:]] == [["100", "%"]]
    assert text.count("pass") == 1


def test_cells_and_own_modules_are_the_users_but_packages_are_not(profile, tmp_path):
    (tmp_path / "mine.py").touch()

    assert is_of_user(CELL)
    assert is_of_user(str(tmp_path / "mine.py"))
    assert not is_of_user(LIBRARY)
    assert not is_of_user("<string>")
    assert not is_of_user(pytest.__file__)
    assert shown_file("<ipython-input-3-abc>") == "a cell"
