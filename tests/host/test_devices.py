"""Which devices a process may use, and how busy they are, told by a fake `nvidia-smi`."""

from __future__ import annotations

import pytest
from fake_gpus import BUSY, DIVIDED, TWO, fake_gpus, no_gpus

from nbpar.host.devices import load, visible
from nbpar.host.devices.load import Gauge, Reading, described, reading_of, readings, short_device
from nbpar.host.devices.visible import device_of, devices_here, initialized_devices
from nbpar.testing import until

FIRST, SECOND = (line.partition("UUID: ")[2].rstrip(")\n") for line in TWO.splitlines())
MIGS = tuple(line.partition("UUID: ")[2].rstrip(")\n") for line in DIVIDED.splitlines()[1:3])


@pytest.mark.parametrize(
    ("listed", "variables", "names"),
    [
        (TWO, {}, ("0", "1")),
        (DIVIDED, {}, (*MIGS, "1")),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1"}, ("1",)),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1, 0"}, ("1", "0")),
        (TWO, {"CUDA_VISIBLE_DEVICES": "0,7,1"}, ("0",)),  # CUDA stops at the first that there is not
        (TWO, {"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ("0",)),
        (TWO, {"CUDA_VISIBLE_DEVICES": ""}, ()),
        (TWO, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),  # Slurm's word for none
        (TWO, {"CUDA_VISIBLE_DEVICES": f"{SECOND},{FIRST}"}, (SECOND, FIRST)),
        (DIVIDED, {"CUDA_VISIBLE_DEVICES": MIGS[1]}, (MIGS[1],)),
        ("", {"HIP_VISIBLE_DEVICES": "2,3"}, ("2", "3")),
        ("", {"ZE_AFFINITY_MASK": "0.0,0.1"}, ("0.0", "0.1")),
    ],
)
def test_the_devices_of_a_process(tmp_path, monkeypatch, listed, variables, names):
    fake_gpus(tmp_path, monkeypatch, listed)

    found = devices_here(variables)

    assert found.names == names
    assert found.variable == next(iter(variables), "CUDA_VISIBLE_DEVICES")


def test_numbers_of_nvidia_smi_are_made_those_of_cuda_unless_the_user_has_an_order(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch)

    assert devices_here({}).variables("1") == {
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    assert devices_here({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}).variables("1") == {
        "CUDA_VISIBLE_DEVICES": "1"
    }
    assert devices_here({"CUDA_VISIBLE_DEVICES": "0,1"}).variables("1") == {"CUDA_VISIBLE_DEVICES": "1"}


@pytest.mark.parametrize(
    ("asked", "name"),
    [("0", "0"), (FIRST, "0"), ("GPU-222", "1"), ("GPU-9", None), ("7", None), ("GPU-", None)],
)
def test_a_device_may_be_called_by_the_beginning_of_its_uuid(tmp_path, monkeypatch, asked, name):
    fake_gpus(tmp_path, monkeypatch)

    assert devices_here({}).called(asked) == name


def test_device_files_are_counted_where_nvidia_smi_is_not_there_and_then_devices_of_amd(
    tmp_path, monkeypatch
):
    no_gpus(tmp_path, monkeypatch)
    assert devices_here({}).names == ()

    for node, units in enumerate((0, 304, 304)):
        folder = tmp_path / "kfd" / str(node)
        folder.mkdir(parents=True)
        (folder / "properties").write_text(f"cpu_cores_count 0\nsimd_count {units}\n")
    found = devices_here({})
    assert (found.variable, found.names) == ("HIP_VISIBLE_DEVICES", ("0", "1"))
    assert devices_here({"ROCR_VISIBLE_DEVICES": "5"}).names == ("0",)

    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    found = devices_here({})
    assert (found.variable, found.names) == ("CUDA_VISIBLE_DEVICES", ("0", "1"))


@pytest.mark.parametrize(
    ("variables", "device"),
    [
        ({}, ""),
        ({"CUDA_VISIBLE_DEVICES": "3"}, "GPU 3"),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, ""),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ""),
        ({"CUDA_VISIBLE_DEVICES": FIRST}, FIRST),
        ({"CUDA_VISIBLE_DEVICES": MIGS[0]}, MIGS[0]),
        ({"HIP_VISIBLE_DEVICES": "1"}, "HIP 1"),
        ({"ZE_AFFINITY_MASK": "0.1"}, "ZE 0.1"),
    ],
)
def test_the_one_device_of_an_environment(variables, device):
    assert device_of(variables) == device


def test_how_busy_devices_are_in_words(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch)

    known = readings()

    assert known["GPU 0"] == known[FIRST] == Reading(3000 << 20, 143771 << 20, 37)
    assert described("GPU 0", reading_of("GPU 0", known)) == "GPU 0: 3.1 of 151 GB, 37 %"
    assert described("GPU 1", reading_of("GPU 1", known)) == "GPU 1: 0.0 of 151 GB"
    assert described(short_device(SECOND), reading_of("GPU-2222", known)) == "GPU-22222222: 0.0 of 151 GB"
    assert described("MIG-33333333", reading_of(MIGS[0], known)) == "MIG-33333333"
    assert described("HIP 0", reading_of("HIP 0", known)) == "HIP 0"


def test_a_number_is_not_looked_up_where_cuda_may_number_devices_otherwise(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch, busy=BUSY.replace("H200", "T4", 1))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    assert readings().keys() == {FIRST, SECOND}

    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert readings().keys() == {FIRST, SECOND, "GPU 0", "GPU 1"}


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\nexec sleep 600\n", "#!/bin/sh\nexit 6\n", "#!/bin/sh\necho ,\n"]
)
def test_nvidia_smi_that_hangs_or_fails_is_given_up(tmp_path, monkeypatch, script):
    fake_gpus(tmp_path, monkeypatch, script=script)
    monkeypatch.setattr(visible, "PATIENCE", 0.3)
    monkeypatch.setattr(load, "PATIENCE", 0.3)

    assert devices_here({}).names == ()
    assert devices_here({"CUDA_VISIBLE_DEVICES": "0"}).names == ("0",)
    assert readings() == {}


def test_a_gauge_answers_at_once_and_renews_itself(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch, script="#!/bin/sh\nexit 6\n")
    monkeypatch.setattr(load, "EVERY", 0.0)
    monkeypatch.setattr(load, "AFTER_NONE", 0.0)
    gauge = Gauge()

    assert gauge.latest() == {}
    fake_gpus(tmp_path, monkeypatch)
    until(lambda: "GPU 0" in gauge.latest())


def test_a_gpu_that_this_process_has_opened_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(visible, "OPEN_FILES", tmp_path)
    (tmp_path / "0").symlink_to("/dev/null")
    assert not initialized_devices()

    (tmp_path / "7").symlink_to("/dev/nvidiactl")
    assert initialized_devices()
