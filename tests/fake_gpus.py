"""A machine with GPUs, as far as nbpar sees: a fake `nvidia-smi`, and none of the real ones."""

from __future__ import annotations

import os
from pathlib import Path

from nbpar.host.devices import visible
from nbpar.host.devices.nvidia_smi import NVIDIA_SMI

TWO = """\
GPU 0: NVIDIA H200 (UUID: GPU-11111111-aaaa-4a0f-8000-000000000001)
GPU 1: NVIDIA H200 (UUID: GPU-22222222-bbbb-4a0f-8000-000000000002)
"""

DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-aaaa-4a0f-8000-000000000001)
  MIG 3g.20gb     Device  0: (UUID: MIG-33333333-cccc-5a0f-8000-000000000003)
  MIG 2g.10gb     Device  1: (UUID: MIG-44444444-dddd-5a0f-8000-000000000004)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-22222222-bbbb-4a0f-8000-000000000002)
"""

BUSY = """\
0, GPU-11111111-aaaa-4a0f-8000-000000000001, NVIDIA H200, 3000, 143771, 37
1, GPU-22222222-bbbb-4a0f-8000-000000000002, NVIDIA H200, 4, 143771, [N/A]
"""


def fake_gpus(folder: Path, monkeypatch, listed: str = TWO, busy: str = BUSY, script: str = "") -> None:
    """Let `nvidia-smi` say that there are these; a `script` stands for the whole program."""
    for name in (*visible.VISIBLE, visible.CUDA_ORDER, "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(visible, "NODES", folder / "dev")
    monkeypatch.setattr(visible, "AMD_NODES", folder / "kfd")
    (folder / "listed").write_text(listed)
    (folder / "busy").write_text(busy)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    cat = f'#!/bin/sh\n[ "$1" = -L ] && exec cat "{folder}/listed"\nexec cat "{folder}/busy"\n'
    new = folder / "new"
    new.write_text(script or cat)
    new.chmod(0o755)
    new.replace(programs / NVIDIA_SMI)  # it may be running
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


def no_gpus(folder: Path, monkeypatch) -> None:
    """Let there be none, and no `nvidia-smi` that lists any."""
    fake_gpus(folder, monkeypatch, script="#!/bin/sh\nexit 9\n")
