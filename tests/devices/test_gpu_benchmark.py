"""The benchmark of inference runs where a GPU is, and says that there is none where there is not."""

from __future__ import annotations

import pytest
import torch
from fake_gpus import no_gpus

from benchmarks import gpu


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, capsys):
    no_gpus(tmp_path, monkeypatch)

    assert gpu.main([]) == 0
    assert capsys.readouterr().out.startswith("there is no GPU on this machine")


@pytest.mark.engines
@pytest.mark.timeout(600)
def test_it_measures_the_loop_and_workers(capsys):
    arguments = ["--quick"] if torch.cuda.is_available() else ["--quick", "--cpu"]

    assert gpu.main(arguments) == 0

    shown = capsys.readouterr().out
    assert shown.count("one process") >= 2
    assert "of the classes" not in shown
    assert "alone" in shown or not torch.cuda.is_available()
