"""Log in to a host with ssh, find a suitable Python there, and start a program in it.

The command that ssh passes to the login shell, whichever that is, only starts `sh`, which reads one
line of script from standard input; the Python that it finds reads the program from there, too.
So nothing is written to the host's disk, and all of it is sent without waiting for an answer.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath

NEEDED = ("ipyparallel", "cloudpickle", "zmq")
"""Modules that an engine needs."""

PACKAGES = {"zmq": "pyzmq"}
"""Names of their packages, where these differ."""

LOCAL_SCRIPT = 'IFS= read -r s && eval "$s"'
"""Reads the script, which is one line, and runs it."""

REMOTE_COMMAND = f"exec sh -c '{LOCAL_SCRIPT}'"
"""Starts the script; these words mean the same to sh, bash, zsh, fish and csh."""

OPTIONS = (
    ("LogLevel", "ERROR"),
    ("ConnectTimeout", "15"),
    ("ServerAliveInterval", "15"),
    ("ServerAliveCountMax", "4"),
    ("ClearAllForwardings", "yes"),
    ("PermitLocalCommand", "no"),
    ("RemoteCommand", "none"),
)
"""Options of ssh that this needs, whatever the user's configuration says."""

ENVIRONMENT_FOLDERS = (
    "miniforge3/envs",
    "mambaforge/envs",
    "miniconda3/envs",
    "anaconda3/envs",
    "micromamba/envs",
    ".conda/envs",
    ".local/share/mamba/envs",
    ".virtualenvs",
    ".venvs",
    "venvs",
    ".pyenv/versions",
)
"""Folders of environments below the home."""

SYSTEM_ENVIRONMENT_FOLDERS = ("/opt/conda/envs", "/opt/miniconda3/envs", "/opt/miniforge3/envs", "/opt")

CONDA_BASES = ("miniforge3", "mambaforge", "miniconda3", "anaconda3")

_PROBE = (
    "import sys\n"
    "m=[]\n"
    "try:\n"
    " from importlib.util import find_spec as f\n"
    " m=[n for n in {needed!r} if f(n) is None]\n"
    "except ImportError: m={needed!r}\n"
    'sys.stdout.write("%d.%d|" % tuple(sys.version_info[:2])+",".join(m))\n'
)

_PROGRAM = (
    "import os,sys,zlib,json\n"
    "b=b''\n"
    "while len(b)<{size}:\n"
    " c=os.read(0,{size}-len(b))\n"
    " if not c: sys.exit(3)\n"
    " b+=c\n"
    "p=json.loads(zlib.decompress(b).decode())\n"
    "exec(compile(p['program'],p['origin'],'exec'),{{'__name__':'nbpar_far','p':p}})\n"
)

_PROGRAM_OF_JOB = (
    "import os,sys,zlib,json\n"
    "f=os.environ['NBPAR_JOB_FOLDER']\n"
    "try: b=open(f+'/program','rb').read()\n"
    "except OSError as e: sys.exit('the folder %s of the login node is not here, on %s: %s; '\n"
    " 'run_folder= must be a folder that the nodes share' % (f,os.uname()[1],e.strerror))\n"
    "p=json.loads(zlib.decompress(b).decode())\n"
    "exec(compile(p['program'],p['origin'],'exec'),{'__name__':'nbpar_far','p':p})\n"
)

_TRY_PATH = (
    't() { [ -f "$1" ] && [ -x "$1" ] || return 0; case "$S" in *"|$1|"*) return 0;; esac; S="$S|$1|"; '
    'o=$("$1" -c "$Q" 2>/dev/null </dev/null) || o="?|"; '
    'case "$o" in "$V|"*) F=${F:-$1};; esac; '
    '[ -z "$X" ] && [ "$o" = "$V|" ] && exec "$1" -c "$B"; printf "%s found %s %s\\n" "$M" "$o" "$1"; }'
)

_INSTALL = (
    'i() { T="$D.$$"; u=$(command -v uv) || u="$HOME/.local/bin/uv"; mkdir -p "${D%/*}" && '
    '{ { [ -n "$F" ] && "$F" -m venv "$T"; } || "$u" venv -q --seed --python "$V" "$T"; } </dev/null >&2 && '
    '"$T/bin/python" -m pip install -q --disable-pip-version-check "$@" </dev/null >&2 && '
    '{ [ -e "$D" ] || mv "$T" "$D"; X=; S=; t "$D/bin/python"; }; '
    'rm -rf "$T"; printf "%s broken\\n" "$M"; exit 4; }'
)
"""Makes the private environment from the first Python of the minor version, or from one that uv brings."""

_TRY_COMMAND = 'c() { p=$(command -v "$1" 2>/dev/null) && case "$p" in /*) t "$p";; esac; return 0; }'


def ssh_command(command: Sequence[str], host: str, *, asks: bool = False) -> list[str]:
    """The command line of the ssh client, which may ask for passwords or not."""
    values = [("BatchMode", "no" if asks else "yes"), *OPTIONS]
    options = [word for name, value in values for word in ("-o", f"{name}={value}")]
    return [*command, "-T", "-x", "-a", *options, "--", host, REMOTE_COMMAND]


@dataclass(frozen=True, slots=True)
class Search:
    """Where Pythons are looked for on a host."""

    version: str
    """The minor version that is needed, such as "3.12"."""

    named: str = ""
    """A path, a command, or the name of an environment; "" for any that fits."""

    executable: str = ""
    """This side's Python: on a shared disk the same one is there."""

    environment: str = ""
    """Name of this side's environment, "" if it has none."""

    at_home: str = ""
    """Path of this side's environment below the home, "" if it is elsewhere."""

    install: tuple[str, ...] = ()
    """Requirements of a private environment, which is made there if nothing fits; empty: none is made."""

    private: bool = False
    """Whether only that environment fits."""

    @property
    def private_name(self) -> str:
        """Name of the private environment; other requirements have another one."""
        digest = sha256("\n".join(sorted(self.install)).encode()).hexdigest()
        return f"python-{self.version}-{digest[:10]}"


def search_like_here(named: str = "", extra: Sequence[str] | None = None) -> Search:
    """The search for a Python like this process's.

    Args:
        named: the Python that the user names, "" for none.
        extra: packages besides those that engines need, for a private environment; None: none is made.
    """
    prefix = PurePosixPath(sys.prefix)
    name, at_home = "", ""
    if sys.prefix != sys.base_prefix:
        plain = prefix.name in (".venv", "venv", "env", ".env")
        name = prefix.parent.name if plain else prefix.name
    elif (conda := os.environ.get("CONDA_DEFAULT_ENV", "")) and conda != "base" and prefix.name == conda:
        name = conda
    home = os.path.expanduser("~")  # noqa: PTH111 (a path of the host's form is wanted)
    if name and prefix.is_relative_to(home):
        at_home = str(prefix.relative_to(home))
    minor = "{}.{}".format(*sys.version_info[:2])
    install = (
        () if extra is None else (*(f"{name}=={found}" for name, found in versions_here().items()), *extra)
    )
    return Search(minor, named, sys.executable, name, at_home, install, bool(extra))


def versions_here() -> dict[str, str]:
    """The versions of the packages that engines need, as this process has them."""
    found = {}
    for module in (*NEEDED, "ipykernel"):
        package = PACKAGES.get(module, module)
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def script(search: Search, mark: str, program_size: int) -> str:
    """The script for a host whose Python reads a program of that size from standard input."""
    return search_script(search, mark, _PROGRAM.format(size=program_size))


def script_of_job(search: Search, mark: str) -> str:
    """The script of a job, whose Python reads the program from a file that is named by a variable."""
    return search_script(search, mark, _PROGRAM_OF_JOB)


def search_script(search: Search, mark: str, program: str) -> str:
    """The line of shell script that tries Pythons and becomes the first one that fits, with a program.

    It prints a line for each Python that does not: `MARK found VERSION|MISSING PATH`.
    """
    lines = [
        f"M={mark}",
        f"V={search.version}",
        f"Q={_one_line(_PROBE.format(needed=list(NEEDED)))}",
        f"B={_one_line(program)}",
        "S=",
        "F=",
        "X=",
        _TRY_PATH,
        _TRY_COMMAND,
        *_private(search),
        *(_named(search.named) if search.named else _any(search)),
        *([f"i {' '.join(map(shlex.quote, search.install))}"] if search.install else []),
        'printf "%s none\\n" "$M"',
        "exit 3",
    ]
    return "; ".join(lines) + "\n"


def _private(search: Search) -> list[str]:
    """Try the private environment, and nothing else if only that fits."""
    if not search.install:
        return []
    folder = f'D="${{XDG_CACHE_HOME:-$HOME/.cache}}/nbpar/{search.private_name}"'
    return [folder, 't "$D/bin/python"', *(["X=1"] if search.private else []), _INSTALL]


def _named(name: str) -> list[str]:
    if "/" in name:
        return [f"t {_path(name)}", f"t {_path(name.rstrip('/') + '/bin/python')}"]
    return [f"c {shlex.quote(name)}", *_environments(name)]


def _environments(name: str) -> list[str]:
    """Try the environments of a name."""
    quoted = shlex.quote(name)
    homes = [f'"$HOME"/{folder}' for folder in ENVIRONMENT_FOLDERS]
    folders = " ".join([*homes, *SYSTEM_ENVIRONMENT_FOLDERS])
    below = [f't "$HOME"/{quoted}/{inner}bin/python' for inner in ("", ".venv/", "venv/")]
    return [f'for d in {folders}; do t "$d"/{quoted}/bin/python; done', *below]


def _any(search: Search) -> list[str]:
    """Try the same Python, an environment of the same name, then those of the same minor version."""
    version = search.version
    tries = [f"t {shlex.quote(search.executable)}"] if search.executable.startswith("/") else []
    if search.at_home:
        tries.append(f't "$HOME"/{shlex.quote(search.at_home)}/bin/python')
    if search.environment:
        tries += _environments(search.environment)
    tries += [f"c python{version}", "c python3", "c python"]
    places = [
        f'"$HOME"/.local/bin/python{version}',
        f"/usr/local/bin/python{version}",
        f"/usr/bin/python{version}",
        f'"$HOME"/.pyenv/versions/{version}.*/bin/python',
        *(f'"$HOME"/{base}/bin/python' for base in CONDA_BASES),
        "/opt/conda/bin/python",
        f'"$HOME"/.cache/nbpar/python-{version}-*/bin/python',
        f'"$HOME"/.local/share/uv/python/cpython-{version}.*/bin/python{version}',
    ]
    return [*tries, f'for f in {" ".join(places)}; do t "$f"; done']


def _path(path: str) -> str:
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


def _one_line(program: str) -> str:
    """A Python program as one word of a line of shell script."""
    return shlex.quote(f"exec({program!r})")


def packed_program(program: str, origin: str, content: Mapping[str, object]) -> bytes:
    """What the Python that was found reads: a program, and the content of its variable `p`."""
    return zlib.compress(json.dumps({**content, "program": program, "origin": origin}).encode())


@dataclass(frozen=True, slots=True)
class FoundPython:
    """A Python on a host that does not fit."""

    path: str
    """Where it is."""

    version: str
    """Its minor version, "?" if it does not run."""

    missing: tuple[str, ...]
    """Needed modules that it lacks."""

    @property
    def runs(self) -> bool:
        """Whether it is a Python at all."""
        return self.version not in ("", "?")

    def __str__(self) -> str:
        if not self.runs:
            return f"{self.path} (does not run)"
        lacks = f", without {', '.join(map(_package, self.missing))}" if self.missing else ""
        return f"{self.path} ({self.version}{lacks})"


def found_python(line: str) -> FoundPython:
    """Parse what follows `MARK found `."""
    facts, _, path = line.partition(" ")
    version, _, missing = facts.partition("|")
    return FoundPython(path, version, tuple(name for name in missing.split(",") if name))


def no_python(search: Search, found: Sequence[FoundPython], login: str, versions: Mapping[str, str]) -> str:
    """Say why no Python of a host fits, and what mends it; `login` is the command that leads there."""
    wanted = f"{search.named!r}" if search.named else f"Python {search.version}"
    listed = "; found: " + "; ".join(map(str, found)) if found else ""
    fitting = [python for python in found if python.version == search.version]
    if fitting:
        best = min(fitting, key=lambda python: len(python.missing))
        packages = " ".join(_pinned(name, versions) for name in best.missing)
        remedy = f"run `{login} {shlex.quote(best.path)} -m pip install {packages}`, or give install=True"
        what = f"{wanted} lacks {', '.join(map(_package, best.missing))} there"
    elif search.named and found:
        what = f"{wanted} there is not Python {search.version}, which runs here"
        remedy = "name another one with python="
        if found[0].runs:
            remedy += f", or start the notebook with Python {found[0].version}"
    elif search.named:
        what = f"there is no {wanted} there"
        remedy = "name another one with python=, or leave it out, so that one is looked for"
    else:
        what = f"there is no Python {search.version}, which runs here, with what engines need"
        listed = listed or "; no Python was found there"
        remedy = (
            f"install Python {search.version} there with {', '.join(map(_package, NEEDED))}, "
            "name one with python=, or give install=True"
        )
    return f"{what}{listed}; {remedy}"


def _package(module: str) -> str:
    return PACKAGES.get(module, module)


def _pinned(module: str, versions: Mapping[str, str]) -> str:
    package = _package(module)
    return f"{package}=={versions[package]}" if package in versions else package
