"""Wrong arguments of public calls are refused at the call, with their names and what is allowed."""

from __future__ import annotations

import pytest

import nbpar
from nbpar.compat import gluonnlp, pyblaze
from nbpar.compat.execnet import XSpec

NAN = float("nan")
NO_PROFILE = r"^there is no IPython profile 'nosuch' in "
NOWHERE = r"^'ssh://' names no host, or has more than a port; write a host as "

POOLS = [
    ({"workers": "2"}, TypeError, r"^workers must be a whole number, was '2'$"),
    ({"workers": NAN}, TypeError, r"^workers must be a whole number, was nan$"),
    ({"workers": 10**30}, ValueError, r"^workers must be at most 65536, was 10+$"),
    ({"backend": None}, ValueError, r'^backend must be "engines", "threads" or "serial", was None$'),
    ({"path": 5}, ValueError, r'^path must be "auto" or "controller", was 5$'),
    ({"progress": 5}, ValueError, r'^progress must be "auto", "widget", "text" or "none", was 5$'),
    ({"initializer": 5}, TypeError, r"^initializer must be None or a function, was 5$"),
    ({"initializer": print, "initargs": 5}, TypeError, r"^initargs must be a tuple of arguments, was 5; "),
    ({"initializer": print, "initargs": "ab"}, TypeError, r"^initargs .* was 'ab'; write `\('ab',\)`$"),
    ({"initargs": (5,)}, ValueError, r"^initargs are arguments of initializer=, but there is none, "),
    ({"cluster": "nosuch"}, nbpar.ClusterError, NO_PROFILE),
    ({"cluster": "/no/such.json"}, nbpar.ClusterError, r"^there is no connection file '/no/such.json'"),
    ({"cluster": ""}, nbpar.ClusterError, r"^the name of the cluster is empty; give "),
    ({"cluster": "ssh://"}, nbpar.ClusterError, NOWHERE),
    ({"cluster": "foo://bar"}, nbpar.ClusterError, r"^'foo://bar' is no cluster: foo:// is unknown; "),
    ({"cluster": 5}, TypeError, r"^cluster must be an nbpar.Cluster, .*, was int; `nbpar.Pool\(5\)` is "),
    (
        {"cluster": 5, "backend": "threads"},
        ValueError,
        r'^cluster= needs backend="engines", not \'threads\'$',
    ),
    ({"env": 5}, TypeError, r"^env must be a dict of environment variables, was 5$"),
    ({"env": {"A": 5}}, TypeError, r"^env\['A'\] must be a text, was 5; write '5'$"),
    ({"max_items_per_worker": "x"}, TypeError, r"^max_items_per_worker must be None or a whole number, "),
    ({"max_worker_memory": 0}, ValueError, r"^max_worker_memory must be at least 1, was 0$"),
    ({"min_free_memory": "x"}, TypeError, r'^min_free_memory must be "auto", None, bytes or '),
]

CLUSTERS = [
    ({"n": "2"}, TypeError, r"^the number of engines must be a whole number, was '2'$"),
    ({"nice": "x"}, TypeError, r"^nice must be None or a whole number, was 'x'$"),
    ({"nice": 10**30}, ValueError, r"^nice must be at most 19, was 10+$"),
    (
        {"preload": "json"},
        TypeError,
        r"^preload must be a list of names of modules, was 'json'; write `\['json'\]`$",
    ),
    ({"preload": 5}, TypeError, r"^preload must be a list of names of modules, was 5$"),
    ({"preload": [5]}, TypeError, r"^preload must have full names of modules, as for `import`, had 5$"),
    ({"engines": 5}, TypeError, r'^engines must be "nbpar", "ssh", the name of .*, was 5$'),
    ({"engines": "no.such.Launcher"}, ValueError, r"^engines='no.such.Launcher' cannot be imported: "),
    ({"engines": object}, TypeError, r"^engines must be a launcher of ipyparallel, "),
    ({"engines": "ssh", "hosts": 5}, TypeError, r"^hosts must be a host, a list or a dict of hosts, was 5; "),
    ({"engines": "ssh", "config": 5}, TypeError, r"^config must be a traitlets Config or a dict, was 5$"),
    ({"start_timeout": -1}, ValueError, r"^start_timeout must be a number of seconds above 0, was -1$"),
    ({"start_timeout": "x"}, TypeError, r"^start_timeout must be a number of seconds, was 'x'$"),
    ({"heal": "no"}, TypeError, r"^heal must be True or False, was 'no'$"),
    ({"cwd": 5}, TypeError, r"^cwd must be None or a path, was 5$"),
    ({"cwd": "a\0"}, ValueError, r"^cwd must be None or a path, was 'a\\x00'$"),
    ({"env": ["A"]}, TypeError, r"^env must be a dict of environment variables, was \['A'\]$"),
]

HOSTS = [
    ({"hosts": 5}, TypeError, r"^hosts must be a host, a list or a dict of hosts, was 5; write a host as "),
    ({"hosts": [5]}, TypeError, r"^a host must be a text, was 5; "),
    ({"hosts": "ssh://"}, nbpar.ClusterError, NOWHERE),
    (
        {"hosts": "ssh://one:x"},
        nbpar.ClusterError,
        r"^'ssh://one:x' names no host, or has more than a port; ",
    ),
    ({"hosts": "one", "n": "x"}, TypeError, r"^n must be None or a whole number, was 'x'$"),
    ({"hosts": "one", "python": 5}, TypeError, r"^python must be None, a path, a command or .*, had 5$"),
    (
        {"hosts": "one", "command": 5},
        TypeError,
        r'^command must be a text as "ssh", or a list of its words, ',
    ),
    ({"hosts": "one", "command": [5]}, TypeError, r"^command must be a list of texts, had 5$"),
    (
        {"hosts": "one", "install": 5},
        TypeError,
        r"^install must be True, False or a list of packages, was 5$",
    ),
    ({"hosts": "one", "nice": "x"}, TypeError, r"^nice must be None or a whole number, was 'x'$"),
    ({"hosts": "one", "start_timeout": 0}, ValueError, r"^start_timeout must be a number of seconds above 0"),
]

JOBS = [
    ({"n": "2"}, TypeError, r"^the number of engines must be a whole number, was '2'$"),
    ({"partition": 5}, TypeError, r"^partition must be None or a text, was 5$"),
    ({"host": 5}, TypeError, r"^host must be None or a text, was 5$"),
    ({"python": 5}, TypeError, r"^python must be None or a text, was 5$"),
    ({"account": []}, TypeError, r"^account must be None or a text, was \[\]$"),
    ({"run_folder": 5}, TypeError, r"^run_folder must be None or a text, was 5$"),
    ({"cpus": "x"}, TypeError, r"^cpus must be a whole number, was 'x'$"),
    ({"extra": 5}, TypeError, r"^extra must be a list of options, such as .*, was 5$"),
    ({"extra": [5]}, TypeError, r"^an option in extra must be a text, was 5$"),
    ({"command": 5}, TypeError, r'^command must be a text as "ssh", or a list of its words, was 5$'),
    ({"command": []}, nbpar.ClusterError, r"^command is empty; write the ssh client"),
]

MAPS = [
    ({"label": 5}, TypeError, r"^label must be None or a text, was 5$"),
    ({"max_errors": 1}, ValueError, r'^max_errors needs errors="collect" or "skip", was 1 with "raise", '),
    ({"timeout": [3]}, TypeError, r"^timeout must be a number of seconds, was \[3\]$"),
    ({"workers": 10**30}, ValueError, r"^workers must be at most 65536, was "),
    ({"errors": []}, ValueError, r'^errors must be "raise", "collect" or "skip", was \[\]$'),
]

STAGES = [
    ({"fn": None}, TypeError, r"^a stage needs a function, was None$"),
    ({"initargs": 5, "initializer": print}, TypeError, r"^initargs must be a tuple of arguments, was 5; "),
    ({"initargs": (5,)}, ValueError, r"^initargs are arguments of initializer=, but there is none, "),
    ({"worker_args": 5}, TypeError, r"^worker_args must be a list of tuples, one for each worker, was 5$"),
    ({"worker_args": []}, ValueError, r"^worker_args needs one tuple for each of 1 worker, were 0$"),
    ({"batched": "x"}, TypeError, r"^batched must be True or False, was 'x'$"),
    ({"timeout": -1}, ValueError, r"^timeout must be a number of seconds above 0, was -1$"),
    ({"rate": "fast"}, ValueError, r'^rate must be "10/s", "500/min", .*, was \'fast\'$'),
    ({"rate": 0}, ValueError, r"^rate must be .*, all above 0, was 0$"),
    ({"rate": [1]}, TypeError, r"^rate must be .*, was \[1\]$"),
    ({"retries": "x"}, TypeError, r"^retries must be a whole number or a Retry, was 'x'$"),
    ({"name": 5}, TypeError, r"^name must be a text, was 5$"),
]

OTHERS = [
    (lambda: nbpar.use("nosuch"), nbpar.ClusterError, NO_PROFILE),
    (lambda: nbpar.use(""), nbpar.ClusterError, r"^the name of the cluster is empty; give "),
    (lambda: nbpar.use("ssh://"), nbpar.ClusterError, NOWHERE),
    (
        lambda: nbpar.use(5),
        TypeError,
        r"^place must be an nbpar.Pool, .* or None for this machine, was int; ",
    ),
    (lambda: nbpar.Retry(1, first=10**400), ValueError, r"^first must be a finite number of at least 0, "),
    (lambda: nbpar.Pipeline(abs), TypeError, r"^a pipeline needs a list of steps, was .*; write `\[abs\]`$"),
    (lambda: nbpar.Pipeline([abs], pool=5), TypeError, r"^pool must be None or an nbpar.Pool, was 5$"),
    (lambda: nbpar.Union(5), TypeError, r"^a union needs a list or a dict of branches, was 5$"),
    (lambda: nbpar.Union([abs], join=5), TypeError, r'^join must be "concat", "zip", "dict" or a function, '),
    (lambda: nbpar.pipe([1]), ValueError, r"^pipe needs at least one component after the stream$"),
    (lambda: nbpar.pipe(5, abs), TypeError, r"^the stream must be iterable, was 5$"),
    (lambda: nbpar.pipe([1], abs, errors="x"), ValueError, r'^errors must be "raise", "collect" or "skip", '),
    (lambda: nbpar.advise(5, [1]), TypeError, r"^the first argument must be a function, was 5$"),
    (lambda: nbpar.advise(abs, 5), TypeError, r"^items must be iterable, was 5$"),
    (lambda: nbpar.Group(pool=5), TypeError, r"^pool must be None or an nbpar.Pool, was 5$"),
    (lambda: nbpar.MultiChannel(5), TypeError, r"^channels must be a list of channels, was 5$"),
    (lambda: nbpar.MultiChannel([5]), TypeError, r"^channels must be channels, had 5$"),
    (lambda: nbpar.push_files(5, "x", []), TypeError, r"^source must be a path, was 5$"),
    (lambda: nbpar.push_files(".", 5, []), TypeError, r"^destination must be a path, was 5$"),
    (lambda: nbpar.push_files(".", "x", [5]), TypeError, r"^gateways must be gateways, .*, had 5$"),
    (
        lambda: nbpar.push_files(".", "x", [], filter=5),
        TypeError,
        r"^filter must be None or a function, was 5$",
    ),
    (lambda: nbpar.journals().clear(5), TypeError, r"^name must be None or a text, was 5$"),
    (lambda: nbpar.register_joblib(make_default="x"), TypeError, r"^make_default must be True or False, "),
    (lambda: gluonnlp.Parallel("x", None), TypeError, r"^num_workers must be a whole number, was 'x'$"),
    (
        lambda: gluonnlp.Parallel(1, 5),
        TypeError,
        r"^parallizable must have a method forward_backward, was 5$",
    ),
    (lambda: pyblaze.Vectorizer(5), TypeError, r"^worker_func must be a function, was 5$"),
    (
        lambda: pyblaze.Vectorizer(abs, num_workers=-2),
        ValueError,
        r"^num_workers must be at least -1, was -2$",
    ),
    (lambda: XSpec(5), TypeError, r"^a spec is a text such as .*, was 5$"),
]

WAITS = {
    "Run.get": lambda pool: pool.map_async(abs, [1]).get,
    "Run.wait": lambda pool: pool.map_async(abs, [1]).wait,
    "Future.result": lambda pool: pool.submit(abs, 1).result,
    "Future.exception": lambda pool: pool.submit(abs, 1).exception,
    "CallQueue.get": lambda pool: pool.queue(abs).get,
    "Channel.receive": lambda pool: pool.gateways[0].remote_exec("pass").receive,
    "Channel.wait_closed": lambda pool: pool.gateways[0].remote_exec("pass").wait_closed,
    "MultiChannel.wait_closed": lambda pool: pool.remote_exec("pass").wait_closed,
    "ReceiveQueue.get": lambda pool: pool.remote_exec("pass").receive_queue().get,
}
"""Calls that take seconds to wait, of objects on a pool."""


def refuse(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()

    assert isinstance(caught.value, error)


@pytest.mark.parametrize(("arguments", "error", "message"), POOLS, ids=str)
def test_a_pool_refuses(arguments, error, message):
    refuse(lambda: nbpar.Pool(**{"workers": 2, **arguments}), error, message)


@pytest.mark.parametrize(("arguments", "error", "message"), CLUSTERS, ids=str)
def test_a_cluster_refuses(arguments, error, message):
    refuse(lambda: nbpar.Cluster(**{"n": 2, **arguments}), error, message)


@pytest.mark.parametrize(("arguments", "error", "message"), HOSTS, ids=str)
def test_a_cluster_on_hosts_refuses(arguments, error, message):
    refuse(lambda: nbpar.Cluster.ssh(**arguments), error, message)


@pytest.mark.parametrize(("arguments", "error", "message"), JOBS, ids=str)
def test_a_cluster_of_jobs_refuses(arguments, error, message):
    refuse(lambda: nbpar.Cluster.slurm(**{"n": 2, **arguments}), error, message)


@pytest.mark.parametrize(("options", "error", "message"), MAPS, ids=str)
def test_a_map_refuses(options, error, message):
    refuse(lambda: nbpar.map(abs, [1], backend="serial", **options), error, message)


@pytest.mark.parametrize(("arguments", "error", "message"), STAGES, ids=str)
def test_a_stage_refuses(arguments, error, message):
    refuse(lambda: nbpar.Stage(**{"fn": abs, **arguments}), error, message)


@pytest.mark.parametrize(("call", "error", "message"), OTHERS)
def test_other_calls_refuse(call, error, message):
    refuse(call, error, message)


@pytest.mark.parametrize("name", WAITS)
def test_a_call_that_waits_refuses_what_is_no_time(name):
    with nbpar.Pool(1, backend="threads") as pool:
        wait = WAITS[name](pool)

        refuse(lambda: wait("x"), TypeError, r"^timeout must be None or a number of seconds, was 'x'$")
        refuse(lambda: wait(NAN), ValueError, r"^timeout must be None or a number of seconds, was nan$")


def test_an_endless_time_limit_is_none():
    for endless in (float("inf"), 1e300, 10**400):
        assert nbpar.map(abs, [-1], backend="serial", timeout=endless) == [1]


def test_a_callback_must_be_a_function():
    with nbpar.Pool(1, backend="threads") as pool:
        for future in (pool.submit(abs, 1), pool.map_async(abs, [1])):
            refuse(
                lambda future=future: future.add_done_callback(5), TypeError, "a callback must be a function"
            )


def make_a_pool(index):
    with nbpar.Pool(2, cluster="nosuch", env=None) as pool:
        return pool.map(abs, [index])


def test_inside_an_item_a_pool_is_serial_and_joins_nothing():
    assert nbpar.map(make_a_pool, [-1], backend="serial") == [[1]]
