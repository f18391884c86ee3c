"""`%nbpar start`, with hosts."""

import pytest
from IPython.core.error import UsageError

from nbpar.cluster.cluster import Cluster
from nbpar.notebook.completion import proposals
from nbpar.notebook.start_line import StartLine, known_hosts, parse_start, start_proposals


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("", StartLine()),
        ("4", StartLine(4)),
        ("4 --idle 2.5", StartLine(4, idle=2.5)),
        ("--idle=0", StartLine(idle=0.0)),
        ("--gpus auto", StartLine(gpus="auto")),
        ("4 --gpus=2", StartLine(4, gpus=2)),
        ("--gpus 0,GPU-1", StartLine(gpus=("0", "GPU-1"))),
        ("--gpus 3,", StartLine(gpus=("3",))),
        ("--ssh gpu01", StartLine(None, ("gpu01",))),
        ("8 --ssh gpu01 --ssh=ann@gpu02:16", StartLine(8, ("gpu01", "ann@gpu02:16"))),
        ("--ssh gpu01 2 --python py311 --install", StartLine(2, ("gpu01",), "py311", install=True)),
    ],
)
def test_the_forms_of_the_line(line, meaning):
    assert parse_start(line.split()) == meaning


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("four", "expected one number of workers"),
        ("0", "was '0'"),
        ("--ssh", "--ssh needs a value"),
        ("--ssh --install", "--ssh needs a value"),
        ("4 --python x", "--python and --install are for hosts"),
        ("--install", "there is no --ssh"),
        ("--gpus", "--gpus needs a value"),
        ("--gpus auto --ssh gpu01", "--gpus is for workers of this machine"),
        ("--shh gpu01", "was '--shh'"),
        ("--idle soon", "--idle needs a number of minutes, 0 for never, was 'soon'"),
        ("--idle nan", "was 'nan'"),
        ("--idle 5 --ssh gpu01", "--idle is for workers of this machine"),
    ],
)
def test_lines_that_mean_nothing(line, message):
    with pytest.raises(UsageError, match=message):
        parse_start(line.split())


CONFIG = """
Host gpu01 gpu02
    User ann
host=login
Host *.example.org !bad gpu01 node-?
Match host x
    HostName y
"""


def test_hosts_of_the_ssh_configuration_are_proposed(tmp_path, monkeypatch):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(CONFIG)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert known_hosts() == ["gpu01", "gpu02", "login"]
    assert proposals("%nbpar start --ssh gp", "gp", ["start"]) == ["gpu01", "gpu02"]
    options = ["--gpus", "--idle", "--ssh", "--python", "--install"]
    assert proposals("%nbpar start 8 --", "--", ["start"]) == options
    assert proposals("%nbpar start --gpus a", "a", ["start"]) == ["auto"]
    assert proposals("%nbpar sta", "sta", ["start"]) == ["start"]


def test_without_a_configuration_no_host_is_proposed(tmp_path):
    assert known_hosts(tmp_path / "none") == []
    assert start_proposals(["--python"]) == []


class Started:
    """Stands for a cluster."""

    def __init__(self, *asked, **options):
        self.asked, self.options, self.stops = asked, options, 0

    def start(self):
        return self

    def stop(self):
        self.stops += 1


def test_a_cluster_on_hosts_is_started_and_used_and_stopped(run, pools, monkeypatch):
    made = []
    monkeypatch.setattr(
        Cluster, "ssh", lambda *args, **options: (made.append(Started(*args, **options)), made[-1])[1]
    )
    monkeypatch.setattr(pools, "use", lambda place: setattr(pools, "given", place), raising=False)

    run("%nbpar start 8 --ssh gpu01 --ssh ann@gpu02:16 --python py311")
    assert made[0].asked == (("gpu01", "ann@gpu02:16"), 8)
    assert made[0].options == {"python": "py311", "install": False}
    assert pools.given is made[0]

    run("%nbpar start 2 --ssh gpu03")
    assert [cluster.stops for cluster in made] == [1, 0]

    run("%nbpar stop")
    assert [cluster.stops for cluster in made] == [1, 1]
