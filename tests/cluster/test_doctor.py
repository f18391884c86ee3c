"""Findings of `nbpar doctor` for healthy and broken installations."""

import importlib.metadata

import pytest

from nbpar.diagnostics import doctor
from nbpar.diagnostics.doctor import CheckResult, Diagnosis, examine


@pytest.fixture
def quick(monkeypatch):
    """Leave the cluster out."""
    monkeypatch.setattr(doctor, "_cluster", lambda workers: CheckResult("cluster", f"{workers} engines"))


@pytest.fixture
def uninstalled(monkeypatch):
    """Hide a package's metadata, as if it had not been installed."""
    real = importlib.metadata.distribution

    def hide(hidden):
        def distribution(name):
            if name == hidden:
                raise importlib.metadata.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(importlib.metadata, "distribution", distribution)

    return hide


def found(diagnosis, name):
    return next(finding for finding in diagnosis.findings if finding.name == name)


@pytest.mark.engines
def test_a_healthy_installation_is_called_so(capsys):
    status = doctor.main(["--workers", "1"])

    text = capsys.readouterr().out
    assert status == 0, text
    assert "1 engine started" in text
    assert "10 items on 1 worker in" in text
    assert text.endswith("all is well\n")


def test_the_map_is_the_callers(quick):
    assert found(examine(lambda: "went well"), "map").found == "went well"
    assert all(finding.name != "map" for finding in examine().findings)


def test_a_check_that_fails_is_a_finding(quick):
    def fail():
        raise RuntimeError("the map broke")

    diagnosis = examine(fail)

    assert found(diagnosis, "map") == CheckResult("map", "RuntimeError: the map broke", "problem")
    assert not diagnosis.healthy
    assert diagnosis.summary == "1 problem found"


def test_an_old_package_is_named_with_what_to_do(quick, monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.0" if name == "ipyparallel" else real(name)
    )

    finding = found(examine(), "package ipyparallel")

    assert finding.state == "problem"
    assert finding.found == "1.0, too old"
    assert finding.advice.startswith("pip install -U 'ipyparallel>=")


def test_a_missing_widget_library_is_only_noted(quick, uninstalled):
    uninstalled("anywidget")

    diagnosis = examine()

    assert found(diagnosis, "package anywidget").state == "note"
    assert diagnosis.healthy


def test_a_folder_that_is_not_installed_is_noted(quick, uninstalled):
    uninstalled("nbpar")

    diagnosis = examine()

    assert found(diagnosis, "nbpar").state == "note"
    assert "not installed" in found(diagnosis, "nbpar").found
    assert diagnosis.healthy


def test_few_open_files_are_a_problem(quick, monkeypatch):
    monkeypatch.setattr(doctor, "free_descriptors", lambda: 5)

    assert found(examine(), "open files").state == "problem"


def test_one_cpu_is_noted(quick, monkeypatch):
    monkeypatch.setattr(doctor, "usable_cpus", lambda: 1)

    assert found(examine(), "CPUs").state == "note"


def test_a_system_without_fork_is_noted(quick, monkeypatch):
    monkeypatch.setattr(doctor, "can_fork", lambda: False)

    assert "cannot fork" in found(examine(), "warm start").found


def test_it_reads_as_text_and_as_a_table():
    diagnosis = Diagnosis(
        (CheckResult("CPUs", "2 usable"), CheckResult("a<b", "bad", "problem", "do this & that"))
    )

    assert str(diagnosis).splitlines() == [
        "ok  CPUs  2 usable",
        "!!  a<b   bad",
        "          -> do this & that",
        "1 problem found",
    ]
    assert "a&lt;b" in diagnosis._repr_html_()
    assert "do this &amp; that" in diagnosis._repr_html_()
