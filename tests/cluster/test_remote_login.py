"""The script that finds a Python on a host, run by the shells of this machine."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbpar.cluster.remote.login import (
    NEEDED,
    REMOTE_COMMAND,
    FoundPython,
    Search,
    found_python,
    no_python,
    packed_program,
    script,
    search_like_here,
    ssh_command,
)

HERE = "{}.{}".format(*sys.version_info[:2])
MARK = "mark-1234"
PROGRAM = packed_program("import sys; print(p['word'], sys.executable)", "<test>", {"word": "hello"})

LOGIN_SHELLS = ("sh", "bash", "dash", "zsh", "fish", "csh", "busybox sh")
SHELLS = [shell for shell in LOGIN_SHELLS if shutil.which(shell.split()[0])]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the script is for POSIX shells")


def log_in(home, search, shell="sh", path=None, program=PROGRAM):
    """Do what a login shell does with the command, and what ssh sends to it."""
    done = subprocess.run(
        [*shell.split(), "-c", REMOTE_COMMAND],
        input=script(search, MARK, len(program)).encode() + program,
        capture_output=True,
        env={"HOME": str(home), "PATH": path or "/usr/bin:/bin"},
        timeout=60,
        check=False,
    )
    return done.stdout.decode(), done.returncode


def make_python(place, says=None):
    """Make a program that says which version it is, or this Python under another name."""
    place.parent.mkdir(parents=True, exist_ok=True)
    answer = f"printf '{says}'" if says else f'exec {shlex.quote(sys.executable)} "$@"'
    place.write_text(f"#!/bin/sh\n{answer}\n")
    place.chmod(0o755)
    return str(place)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_same_python_is_used_if_it_is_there_by_any_login_shell(tmp_path, shell):
    said, code = log_in(tmp_path, search_like_here(), shell)

    assert (said.split(), code) == (["hello", sys.executable], 0)


def test_nothing_fits(tmp_path):
    search = Search("9.9")

    said, code = log_in(tmp_path, search)

    assert said.splitlines()[-1] == f"{MARK} none"
    assert code == 3
    assert all(line.startswith(f"{MARK} found ") for line in said.splitlines()[:-1])


@pytest.mark.parametrize(
    ("search", "place"),
    [
        (Search(HERE, "fits"), "miniforge3/envs/fits/bin/python"),
        (Search(HERE, "fits"), ".virtualenvs/fits/bin/python"),
        (Search(HERE, "fits"), "fits/.venv/bin/python"),
        (Search(HERE, "~/some where/python"), "some where/python"),
        (Search(HERE, "~/some where"), "some where/bin/python"),
        (Search(HERE, environment="work"), "miniconda3/envs/work/bin/python"),
        (Search(HERE, at_home="code/.venv"), "code/.venv/bin/python"),
        (Search(HERE, executable="/nowhere/python"), f".local/bin/python{HERE}"),
        (Search(HERE), f".pyenv/versions/{HERE}.77/bin/python"),
        (Search(HERE), f".local/share/uv/python/cpython-{HERE}.7-linux/bin/python{HERE}"),
    ],
)
def test_where_pythons_are_looked_for(tmp_path, search, place):
    make_python(tmp_path / place)

    said, code = log_in(tmp_path, search, path=str(tools(tmp_path)))

    assert code == 0
    assert said.splitlines()[-1].startswith("hello ")


def tools(folder):
    """Make a folder of what the script needs, and no Python."""
    made = folder / "tools"
    made.mkdir()
    for name in ("sh", "env", "mkdir", "cp", "mv", "rm", "touch"):
        (made / name).symlink_to(shutil.which(name))
    return made


def test_the_first_that_fits_is_used_and_others_are_told(tmp_path):
    old = make_python(tmp_path / "bin" / f"python{HERE}", "2.7|")
    bare = make_python(tmp_path / "bin" / "python3", f"{HERE}|ipyparallel,zmq")
    make_python(tmp_path / "bin" / "python")

    said, _ = log_in(tmp_path, Search(HERE), path=f"{tmp_path}/bin:{tools(tmp_path)}")

    *told, last = said.splitlines()
    assert told == [f"{MARK} found 2.7| {old}", f"{MARK} found {HERE}|ipyparallel,zmq {bare}"]
    assert last == f"hello {sys.executable}"


def test_a_named_python_alone_counts(tmp_path):
    make_python(tmp_path / "bin" / "python3")

    said, code = log_in(tmp_path, Search(HERE, "nosuch"), path=f"{tmp_path}/bin:{tools(tmp_path)}")

    assert (said, code) == (f"{MARK} none\n", 3)


def test_names_with_quotes_are_only_names(tmp_path):
    name = 'a\'b $(touch oops) `touch oops` "c"'
    make_python(tmp_path / name / "bin" / "python")

    said, code = log_in(tmp_path, Search(HERE, f"~/{name}"), path=str(tools(tmp_path)))

    assert code == 0
    assert said.startswith("hello ")
    assert [path.name for path in Path.cwd().glob("oops")] == []


def test_a_program_that_ends_early_ends_python(tmp_path):
    done = subprocess.run(
        ["sh", "-c", REMOTE_COMMAND],
        input=script(search_like_here(), MARK, len(PROGRAM)).encode() + PROGRAM[:-1],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.returncode) == (b"", 3)


def test_what_a_host_says_of_a_python():
    assert found_python("3.9|zmq,cloudpickle /usr/bin/my python") == FoundPython(
        "/usr/bin/my python", "3.9", ("zmq", "cloudpickle")
    )
    assert str(found_python("?| /x")) == "/x (does not run)"
    assert str(found_python("| /bin/true")) == "/bin/true (does not run)"
    assert str(found_python("3.9|zmq /x")) == "/x (3.9, without pyzmq)"


def test_the_remedy_fits_to_what_was_found():
    old = FoundPython("/usr/bin/python3", "3.4", ())
    bare = FoundPython("/opt/my python", HERE, ("zmq", "ipyparallel"))

    lacks = no_python(Search(HERE), [old, bare], "ssh gpu01", {"pyzmq": "27.0", "ipyparallel": "9.1"})
    other = no_python(Search(HERE, "/usr/bin/python3"), [old], "gpu01", {})
    none = no_python(Search(HERE), [], "gpu01", {})
    no_program = no_python(Search(HERE, "/bin/true"), [FoundPython("/bin/true", "", ())], "gpu01", {})

    assert "found: /usr/bin/python3 (3.4); /opt/my python" in lacks
    assert lacks.endswith(
        "run `ssh gpu01 '/opt/my python' -m pip install pyzmq==27.0 ipyparallel==9.1`, or give install=True"
    )
    assert "'/usr/bin/python3' there is not Python" in other
    assert "name another one with python=, or start the notebook with Python 3.4" in other
    assert no_program.endswith("; found: /bin/true (does not run); name another one with python=")
    assert "no Python was found there" in none
    assert all(name.replace("zmq", "pyzmq") in none for name in NEEDED)


def test_the_command_line_of_ssh():
    line = ssh_command(["ssh", "-F", "config"], "ann@gpu01")

    assert line[:3] == ["ssh", "-F", "config"]
    assert line[-3:] == ["--", "ann@gpu01", REMOTE_COMMAND]
    assert "BatchMode=yes" in line


def test_the_search_is_like_this_process(monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(Path.home() / "code/thing/.venv"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")

    search = search_like_here()

    assert (search.environment, search.at_home, search.version) == ("thing", "code/thing/.venv", HERE)


def make_base(home, fails=""):
    """Make a Python that lacks packages, and makes environments which fit once they are installed."""
    base = home / "bin" / "python3"
    base.parent.mkdir(parents=True)
    program = f"""#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; [ "{fails}" = venv ] && exit 1; exit 0;;
  "-m pip") [ "{fails}" = pip ] && {{ echo "ERROR: no such package" >&2; exit 1; }}
            echo "$@" >> "{home}/installed"; touch "${{0%/*}}/complete"; exit 0;;
esac
[ -e "${{0%/*}}/complete" ] && exec {shlex.quote(sys.executable)} "$@"
printf '{HERE}|zmq'
"""
    base.write_text(program)
    base.chmod(0o755)
    return base


def environments(home):
    return sorted(path.name for path in (home / ".cache" / "nbpar").glob("*"))


def test_an_environment_is_made_once(tmp_path):
    base, search = make_base(tmp_path), Search(HERE, install=("pyzmq==27", "ipyparallel>=8"))
    path = f"{base.parent}:{tools(tmp_path)}"

    first, second = (log_in(tmp_path, search, path=path) for _ in range(2))

    assert first[0].splitlines()[-1].startswith("hello ")
    assert second[0].startswith("hello ")
    assert (tmp_path / "installed").read_text().splitlines() == [
        "-m pip install -q --disable-pip-version-check pyzmq==27 ipyparallel>=8"
    ]
    assert environments(tmp_path) == [search.private_name]


def test_an_environment_that_was_made_serves_later_searches(tmp_path):
    base = make_base(tmp_path)
    path = f"{base.parent}:{tools(tmp_path)}"
    log_in(tmp_path, Search(HERE, install=("x",)), path=path)

    said, code = log_in(tmp_path, Search(HERE), path=path)

    assert (said.splitlines()[-1].split()[0], code) == ("hello", 0)


def test_named_packages_make_an_environment_even_where_a_python_fits(tmp_path):
    base = make_base(tmp_path)
    make_python(tmp_path / "other" / "python")
    search = Search(HERE, install=("pandas",), private=True)

    said, _ = log_in(tmp_path, search, path=f"{base.parent}:{tmp_path / 'other'}:{tools(tmp_path)}")

    assert said.splitlines()[-1].startswith("hello ")
    assert environments(tmp_path) == [search.private_name]


@pytest.mark.parametrize("fails", ["venv", "pip"])
def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path, fails):
    base = make_base(tmp_path, fails)

    said, code = log_in(tmp_path, Search(HERE, install=("x",)), path=f"{base.parent}:{tools(tmp_path)}")

    assert (said.splitlines()[-1], code) == (f"{MARK} broken", 4)
    assert environments(tmp_path) == []


def test_a_private_environment_has_this_sides_versions():
    search = search_like_here("", ["pandas"])

    assert search.install[-1] == "pandas"
    assert [word.partition("==")[0] for word in search.install[:3]] == ["ipyparallel", "cloudpickle", "pyzmq"]
    assert search.private
    assert search.private_name != search_like_here("", ()).private_name
    assert not search_like_here("", ()).private
    assert not search_like_here().install
