"""Jobs as users describe them, and what batch systems are asked and say."""

import socket
import threading
from datetime import timedelta

import pytest

import nbpar
from nbpar.cluster.batch.commands import run_command
from nbpar.cluster.batch.deployment import listed_ids
from nbpar.cluster.batch.doors import Door
from nbpar.cluster.batch.jobs import jobs_of_options
from nbpar.cluster.batch.node import connect
from nbpar.cluster.batch.systems import ENDED, PENDING, RUNNING, SYSTEMS, JobDescription, JobState
from nbpar.cluster.remote import multiplexer
from nbpar.errors import ClusterError
from nbpar.testing import until

HEADS = {
    "slurm": """#!/bin/sh
#SBATCH --job-name=nbpar-1
#SBATCH --output=/log
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --no-requeue
#SBATCH --time=1:30:00
#SBATCH --partition=long
#SBATCH --mem=4096M
#SBATCH --gres=gpu:a100:2
#SBATCH --account=physics
#SBATCH --exclusive
""",
    "pbs": """#!/bin/sh
#PBS -N nbpar-1
#PBS -j oe
#PBS -o /log
#PBS -r n
#PBS -l select=1:ncpus=2:mem=4096mb:ngpus=2:gpu_model=a100
#PBS -l walltime=1:30:00
#PBS -q long
#PBS -A physics
#PBS --exclusive
""",
    "lsf": """#!/bin/sh
#BSUB -J nbpar-1
#BSUB -o /log
#BSUB -n 2
#BSUB -R "span[hosts=1]"
#BSUB -rn
#BSUB -W 1:30
#BSUB -q long
#BSUB -M 4096MB
#BSUB -R "rusage[mem=4096MB]"
#BSUB -gpu "num=2:gmodel=a100"
#BSUB -P physics
#BSUB --exclusive
""",
    "sge": """#!/bin/sh
#$ -N nbpar-1
#$ -S /bin/sh
#$ -j y
#$ -o /log
#$ -r n
#$ -l h_rt=1:30:00
#$ -q long
#$ -l h_vmem=4096M
#$ -l gpu=2
#$ -pe smp 2
#$ -A physics
#$ --exclusive
""",
}


@pytest.mark.parametrize("system", HEADS)
def test_a_job_is_described_in_the_words_of_its_system(system):
    options = {"time": "1:30:00", "partition": "long", "memory": "4G", "gpus": "a100:2", "cpus": 2}
    jobs = jobs_of_options(system, {**options, "account": "physics", "extra": ["--exclusive"]})

    assert SYSTEMS[system].head(jobs.description, "nbpar-1", "/log") == HEADS[system]


@pytest.mark.parametrize("system", HEADS)
def test_what_is_not_asked_for_is_left_to_the_system(system):
    head = SYSTEMS[system].head(jobs_of_options(system, {}).description, "nbpar-1", "/log")

    words = ("time", "mem", "gpu", "account", "partition", " -W", " -q", " -A", " -P ", "h_rt", " -pe")
    assert not [word for word in words if word in head]


SAID = {
    "slurm": (
        (
            "7|PENDING|Priority\n8|RUNNING|None\n9|CANCELLED|None\n10|TIMEOUT|TimeLimit\n"
            "11|FAILED|NonZeroExitCode\n12|COMPLETING|None\n13|COMPLETING|TimeLimit\n14|PENDING|None\n"
            "15|PENDING|BadConstraints\n"
        ),
        {
            "7": JobState(PENDING, "Priority"),
            "8": JobState(RUNNING),
            "9": JobState(ENDED, "it was cancelled", final=True, cancelled=True),
            "10": JobState(ENDED, "it reached its time limit", final=True),
            "11": JobState(ENDED, "it failed (NonZeroExitCode)", final=True),
            "12": JobState(ENDED, "it is ending"),
            "13": JobState(ENDED, "it reached its time limit", final=True),
            "14": JobState(PENDING),
            "15": JobState(PENDING, "BadConstraints", hopeless="no node has what it asks for"),
        },
    ),
    "pbs": (
        (
            "Job Id: 7.host\n    Job_Name = nbpar\n    job_state = Q\n    comment = Not Running: Not enough\n"
            "\tcpus\n\nJob Id: 8.host\n    job_state = R\n\nJob Id: 9.host\n    job_state = F\n"
            "    Exit_status = 271\n\nJob Id: 10.host\n    job_state = F\n    Exit_status = 3\n"
        ),
        {
            "7.host": JobState(PENDING, "Not Running: Not enoughcpus"),
            "8.host": JobState(RUNNING),
            "9.host": JobState(ENDED, "it was cancelled", final=True, cancelled=True),
            "10.host": JobState(ENDED, "it failed with exit code 3", final=True),
        },
    ),
    "lsf": (
        (
            "7|PEND|-|-|New job is waiting for scheduling\n8|RUN|-|-|-\n9|DONE|-|-|-\n"
            "10|EXIT|130|TERM_OWNER: job killed by owner|-\n11|EXIT|140|TERM_RUNLIMIT: job killed|-\n"
            "12|EXIT|3|-|-\nNo job found\n"
        ),
        {
            "7": JobState(PENDING, "New job is waiting for scheduling"),
            "8": JobState(RUNNING),
            "9": JobState(ENDED, "it has ended", final=True),
            "10": JobState(ENDED, "it was cancelled", final=True, cancelled=True),
            "11": JobState(ENDED, "it reached its time limit", final=True),
            "12": JobState(ENDED, "it failed (exit code 3)", final=True),
        },
    ),
    "sge": (
        (
            "job-ID prior name user state submit/start at queue slots ja-task-ID\n-----\n"
            "7 0.0 nbpar ann qw 12/01/2026 01:00:00 1\n8 0.5 nbpar ann r 12/01/2026 01:00:00 all.q@one 1\n"
            "9 0.0 nbpar ann Eqw 12/01/2026 01:00:00 1\n10 0.0 nbpar ann dr 12/01/2026 01:00:00 1\n"
            "11 0.0 nbpar ann hqw 12/01/2026 01:00:00 1\n"
        ),
        {
            "7": JobState(PENDING),
            "8": JobState(RUNNING),
            "9": JobState(ENDED, "its state is Eqw, an error", final=True),
            "10": JobState(ENDED, "it was cancelled", final=True, cancelled=True),
            "11": JobState(PENDING, "held"),
        },
    ),
}


LIMITS = {
    "within": ("main", "main*|1:00:00", ""),
    "beyond": ("main", "main*|30:00", "longest time limit in partition main is 0:30:00"),
    "days": ("", "main*|1-00:00:00\nshort|1:00", ""),
    "that of the default partition": ("", "main*|1:00\nlong|infinite", "in partition main is 0:01:00"),
    "unlimited": ("main", "main*|infinite", ""),
    "one of several": ("a,b", "a|10:00\nb|1:00:00", ""),
    "none of several": ("a,b", "a|10:00\nb|20:00", "in partition a, b is 0:20:00"),
    "unknown": ("nosuch", "", ""),
    "something else": ("main", "sinfo: a notice\nmain*|n/a", ""),
}


@pytest.mark.parametrize("case", LIMITS)
def test_what_slurm_says_of_the_limits_of_partitions(case):
    queue, output, words = LIMITS[case]
    job = JobDescription(seconds=3600, queue=queue)

    found = SYSTEMS["slurm"].excess(job, output)

    assert words in found if words else not found


def test_limits_are_looked_up_only_where_they_matter():
    slurm = SYSTEMS["slurm"]

    assert slurm.limits_query(JobDescription(seconds=1, queue="a"))[-1] == "--partition=a"
    assert slurm.limits_query(JobDescription(queue="a")) == []
    assert SYSTEMS["pbs"].limits_query(JobDescription(seconds=1)) == []
    assert SYSTEMS["pbs"].excess(JobDescription(seconds=1), "anything") == ""


def test_many_jobs_are_named_in_short():
    assert listed_ids(["", ""]) == ""
    assert listed_ids(["4", "", "5"]) == ": 4, 5"
    assert listed_ids([str(number) for number in range(4, 10)]) == ": 4, 5 and 4 more"


@pytest.mark.parametrize("system", SAID)
def test_what_systems_say_of_jobs(system):
    output, states = SAID[system]

    assert SYSTEMS[system].states(output) == states


@pytest.mark.parametrize(
    ("system", "output", "identifier"),
    [
        ("slurm", "4711\n", "4711"),
        ("slurm", "4711;cluster\n", "4711"),
        ("pbs", "4711.server.example.org\n", "4711.server.example.org"),
        ("lsf", "Job <4711> is submitted to queue <q3>.\n", "4711"),
        ("sge", "4711\n", "4711"),
        ("lsf", "Queue q3 is closed\n", ""),
    ],
)
def test_the_identifier_of_a_job(system, output, identifier):
    assert SYSTEMS[system].identifier(output) == identifier


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("1:30:00", 5400),
        ("05:00", 300),
        ("2-12:00:00", 216_000),
        (90, 90),
        (0.5, 1),
        (timedelta(hours=1), 3600),
    ],
)
def test_the_forms_of_a_time_limit(time, seconds):
    assert jobs_of_options("slurm", {"time": time}).description.seconds == seconds


@pytest.mark.parametrize(
    ("memory", "megabytes"), [("4G", 4096), ("500M", 500), ("1.5gb", 1536), ("1TiB", 1 << 20)]
)
def test_the_forms_of_memory(memory, megabytes):
    assert jobs_of_options("slurm", {"memory": memory}).description.megabytes == megabytes


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"time": "60"}, ClusterError, "'60' is no time limit; write \"1:30:00\""),
        ({"time": 0}, ClusterError, "must be longer than 0 s"),
        ({"time": float("nan")}, ClusterError, "must be longer than 0 s"),
        ({"time": []}, TypeError, "time must be a text, a number of seconds or a timedelta"),
        ({"memory": "4"}, ClusterError, "'4' is no amount of memory"),
        ({"memory": 4}, TypeError, 'with a unit, such as "4G", was 4'),
        ({"gpus": "many"}, ClusterError, "'many' is no number of GPUs"),
        ({"gpus": -1}, ClusterError, "gpus must be at least 1, was -1"),
        ({"cpus": True}, TypeError, "cpus must be a whole number"),
        ({"partition": "two words"}, ClusterError, "partition must be one word"),
        ({"account": "a\n#SBATCH --nice"}, ClusterError, "account must be a text of one line"),
        ({"extra": "--exclusive"}, TypeError, "extra must be a list of options"),
        ({"extra": ["a\nrm -r x"]}, ClusterError, "an option in extra must be a text of one line"),
        (
            {"partitoin": "x"},
            TypeError,
            "unknown option 'partitoin' of slurm jobs; did you mean 'partition'?",
        ),
        ({"nodes": 2}, TypeError, "unknown option 'nodes' of slurm jobs; there are time, "),
    ],
    ids=str,
)
def test_what_is_refused(options, error, message):
    with pytest.raises(error) as caught:
        nbpar.Cluster(2, engines="slurm", **options)

    assert message in str(caught.value)


def test_the_call_for_slurm_describes_the_same_jobs():
    options = {"time": "5:00", "partition": "p", "memory": "1G", "gpus": 1, "account": "a", "cpus": 3}

    assert nbpar.Cluster.slurm(2, **options)._engines == nbpar.Cluster(2, engines="slurm", **options)._engines


def test_a_missing_command_is_named(tmp_path):
    said = run_command(["nosuch-sbatch"], tmp_path)

    assert not said.worked
    assert said.words == "there is no command 'nosuch-sbatch' here; is this a login node?"


def test_a_command_that_fails_is_quoted(tmp_path):
    said = run_command(["sh", "-c", "echo one >&2; echo two >&2; exit 3"], tmp_path)

    assert (said.worked, said.words) == (False, "one / two")


def test_the_job_of_the_notebook_itself_does_not_describe_others(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "500")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")

    said = run_command(["sh", "-c", "echo $SLURM_MEM_PER_NODE-$SLURM_CONF-$LC_ALL"], tmp_path)

    assert said.output == "-/etc/slurm.conf-C\n"


KEY = "ab" * 32


@pytest.fixture
def door():
    """A door of the gateway, served by a thread, and the way to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made, over = [], threading.Event()

        def serve():
            link, _ = listener.accept()
            made.append(Door(link, KEY, set(), None))
            while not over.wait(0.01) and not made[0].ended:
                made[0].step()
            made[0].close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield made, listener.getsockname()[1]
        over.set()
        thread.join()


def test_a_job_with_the_key_is_let_in(door):
    made, port = door
    meeting = {"addresses": ["127.0.0.1"], "port": port, "key": KEY}

    link, address, seal = connect(meeting, 3)

    with link:
        assert address == "127.0.0.1"
        assert (made[0].job, made[0]._multiplexer.seal) == (3, seal)


def test_another_key_is_refused_on_both_sides(door, monkeypatch):
    monkeypatch.setattr("nbpar.cluster.batch.node.PERSIST", 0.0)
    made, port = door
    meeting = {"addresses": ["127.0.0.1"], "port": port, "key": "cd" * 32}

    with pytest.raises(OSError, match=r"no way to port \d+ of the login node \(127.0.0.1: .*closed"):
        connect(meeting, 3)

    until(lambda: made and made[0].ended)
    assert made[0].job == -1


@pytest.mark.parametrize("greeting", [b"GET / HTTP/1.1\n", b"1 a b\n", b"\xff\xfe\n", b"x" * 40_000])
def test_strangers_are_sent_away(door, greeting):
    made, port = door
    with socket.create_connection(("127.0.0.1", port)) as link:
        assert link.recv(100)
        link.sendall(greeting)
        until(lambda: made and made[0].ended)

    assert made[0].job == -1


class Heard:
    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)

    def opened(self, payload):
        return None


@pytest.fixture
def pair():
    """Make two connected multiplexers with these keys."""
    opened = []

    def make(*seals):
        links = socket.socketpair()
        copies = [link.dup() for link in links]
        ends = [
            multiplexer.Multiplexer(link.fileno(), copy.fileno(), Heard(), first=first, seal=seal)
            for link, copy, first, seal in zip(links, copies, (1, 2), seals, strict=True)
        ]
        opened.extend([*links, *copies])
        opened[:0] = ends
        return ends

    yield make
    for one in opened:
        one.close()


def test_signed_lines_arrive(pair):
    one, other = pair(b"key", b"key")

    for text in (b"a", b"b"):
        one.send_line(text)
        other.send_line(text)

    until(lambda: (one.step(0.01), one._events.lines == [b"a", b"b"])[1])
    until(lambda: (other.step(0.01), other._events.lines == [b"a", b"b"])[1])


@pytest.mark.parametrize("seals", [(b"key", b"other"), (b"", b"key")])
def test_lines_with_a_wrong_signature_end_the_connection(pair, seals):
    one, other = pair(*seals)
    one.send_line(b"do something that was not asked for, please")

    with pytest.raises(multiplexer.FrameError):
        until(lambda: other.step(0.01))

    assert other.ended == "a line of it was changed on the way"
    assert other._events.lines == []


def test_a_repeated_line_ends_the_connection(pair):
    one, other = pair(b"key", b"key")
    one.send_line(b"x")
    until(lambda: (other.step(0.01), other._events.lines)[1])
    one._sealed[1] = 0
    one.send_line(b"x")

    with pytest.raises(multiplexer.FrameError):
        until(lambda: other.step(0.01))
