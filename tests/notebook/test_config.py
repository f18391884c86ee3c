"""Settings of nbpar in IPython's configuration."""

from __future__ import annotations

import pytest

from nbpar.diagnostics.doctor import _cpus, _idle_engines
from nbpar.host.cpus import default_workers, usable_cpus
from nbpar.notebook.extension import install, uninstall
from nbpar.pool.idle import idle_choice


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for variable in ("NBPAR_MAX_WORKERS", "NBPAR_IDLE_MINUTES"):
        monkeypatch.delenv(variable, raising=False)


def test_the_configuration_holds_as_long_as_the_extension_is_loaded(shell, pools):
    shell.config.NbparMagics.workers = 40
    shell.config.NbparMagics.idle_minutes = 2.5
    install(shell, pools)

    assert default_workers() == 40
    assert _cpus().found.endswith("40 workers by default, by c.NbparMagics.workers")
    assert _idle_engines().found == "end after 2.5 minutes without work, by c.NbparMagics.idle_minutes"

    uninstall(shell)
    assert default_workers() == usable_cpus()
    assert _idle_engines().found == "end after 15 minutes without work"


def test_the_lowest_cap_counts_and_the_doctor_names_it(run, monkeypatch):
    run("%config NbparMagics.workers = 40")
    run("%config NbparMagics.max_workers = 30")
    assert default_workers() == 30
    assert _cpus().found.endswith("30 workers by default, by c.NbparMagics.max_workers")

    monkeypatch.setenv("NBPAR_MAX_WORKERS", "20")
    assert default_workers() == 20
    assert _cpus().found.endswith("20 workers by default, by NBPAR_MAX_WORKERS")


def test_a_number_that_makes_no_sense_is_refused_by_name(run, caplog):
    run("%config NbparMagics.workers = 0")

    assert "'workers' trait of a NbparMagics instance should not be less than 1" in caplog.text
    assert default_workers() == usable_cpus()


def test_0_minutes_mean_never(run):
    run("%config NbparMagics.idle_minutes = 0")

    assert not idle_choice.limit().ends
    assert _idle_engines().found == "stay until they are stopped, by c.NbparMagics.idle_minutes"
