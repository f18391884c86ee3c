"""Hosts as users name them."""

import pytest
from traitlets.config import Config

import nbpar
from nbpar.cluster.remote.hosts import Host, hosts_of_options, parse_hosts
from nbpar.errors import ClusterError


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        ("gpu01", [Host("gpu01")]),
        ("gpu01:8", [Host("gpu01", 8)]),
        (["ann@gpu01:8", "gpu02"], [Host("ann@gpu01", 8), Host("gpu02")]),
        ({"gpu01": 8, "ann@gpu02": None}, [Host("gpu01", 8), Host("ann@gpu02")]),
        ("ssh://ann@gpu01:2222", [Host("ssh://ann@gpu01:2222")]),
        ("2001:db8::1", [Host("2001:db8::1")]),
        ("ann@[2001:db8::1]:4", [Host("ann@2001:db8::1", 4)]),
        ("[2001:db8::1]", [Host("2001:db8::1")]),
    ],
)
def test_the_forms_of_hosts(hosts, found):
    assert list(parse_hosts(hosts).hosts) == found


def test_hosts_without_a_number_get_the_common_one():
    assert parse_hosts(["one", "two:3"], 2).engines == 5


def test_a_python_for_all_or_for_some():
    assert [host.python for host in parse_hosts(["one", "two"], python="py312").hosts] == ["py312", "py312"]
    assert [host.python for host in parse_hosts(["one", "two"], python={"two": "x"}).hosts] == ["", "x"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hosts": []}, "no host is named"),
        ({"hosts": [""]}, "'' is no host name"),
        ({"hosts": "-oProxyCommand=x"}, "is no host name"),
        ({"hosts": "two words"}, "is no host name"),
        ({"hosts": "one:many"}, "'many' in the host 'one:many' is no number of engines"),
        ({"hosts": "one:0"}, "must be at least 1, was 0"),
        ({"hosts": ["one", "one:2"]}, "the host 'one' is named twice"),
        ({"hosts": "one", "python": {"two": "x"}}, "python= names 'two', which is none of the hosts"),
        ({"hosts": "one", "command": []}, "command is empty; write the ssh client"),
        ({"hosts": "one", "silence": 61}, "give_up_after must be from 2 to 60 seconds, was 61"),
        ({"hosts": "one", "silence": 1}, "give_up_after must be from 2 to 60 seconds, was 1"),
        ({"hosts": "one", "install": ["--index-url=x"]}, "'--index-url=x' in install= is no package"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ClusterError, match=message):
        parse_hosts(**arguments)


@pytest.mark.parametrize("seconds", ["30", True, None])
def test_a_limit_that_is_no_number_is_refused(seconds):
    with pytest.raises(TypeError, match="give_up_after must be a number of seconds"):
        parse_hosts("one", silence=seconds)


@pytest.mark.parametrize("hosts", [[3], {3: 3}, {"one": "3"}, {"one": True}])
def test_other_types_are_refused(hosts):
    with pytest.raises(TypeError, match="must be"):
        parse_hosts(hosts)


def test_what_is_to_be_installed():
    assert parse_hosts("one").install is None
    assert parse_hosts("one", install=True).install == ()
    assert parse_hosts("one", install=["pandas>=2", "polars"]).install == ("pandas>=2", "polars")
    with pytest.raises(TypeError, match="install must be True, False or a list of packages, was 'pandas'"):
        parse_hosts("one", install="pandas")


def test_a_number_of_engines_is_shared_among_hosts_without_one():
    found = hosts_of_options(10, {"hosts": ["one:3", "two", "three", "four"]})

    assert {host.name: host.engines for host in found.hosts} == {"one": 3, "two": 3, "three": 2, "four": 2}


def test_too_few_engines_for_the_hosts():
    with pytest.raises(ClusterError, match="1 engines are too few for these hosts"):
        hosts_of_options(1, {"hosts": ["one", "two"]})


def test_the_configuration_of_ipyparallel_is_understood():
    config = Config()
    config.SSHEngineSetLauncher.engines = {"one": 2, "ann@two": (3, ["--debug"])}
    config.SSHEngineSetLauncher.remote_python = "/opt/python"

    found = hosts_of_options(5, {"config": config})

    assert found.hosts == (Host("one", 2, "/opt/python"), Host("ann@two", 3, "/opt/python"))


def test_a_cluster_of_hosts_says_at_once_what_it_does_not_take():
    with pytest.raises(ClusterError, match="no host is named"):
        nbpar.Cluster(4, engines="ssh")
    with pytest.raises(TypeError, match="it was given 'nonsense'"):
        nbpar.Cluster(4, engines="ssh", hosts=["one"], nonsense=1)
    with pytest.raises(TypeError, match="nonsense"):
        nbpar.Cluster.ssh("one", nonsense=1)


def test_a_cluster_of_hosts_knows_its_size_and_shows_them():
    cluster = nbpar.Cluster.ssh({"one": 2, "two": 3})

    assert (cluster.n, cluster.heals, cluster.on_this_host, cluster.forked) == (5, True, False, False)
    assert repr(cluster) == "<nbpar.Cluster stopped: 0 of 5 engines, ssh one two>"
