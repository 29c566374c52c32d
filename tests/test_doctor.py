"""The doctor: every check passes where all is well, and fails, with its remedy, where one thing is broken."""

import builtins
import math
import sys
from importlib import metadata
from types import SimpleNamespace

import psutil
import pytest
import torch

from matchlib import doctor
from matchlib import train as training


def failed(check: doctor.Check, detail: str, remedy: str) -> None:
    assert not check.ok and detail in check.detail and remedy in check.remedy
    line = str(check)
    assert line.startswith(f"FAIL {check.name}: ") and "\n" not in line


def passed(check: doctor.Check) -> None:
    assert check.ok and str(check).startswith(f"ok   {check.name} ") and "\n" not in str(check)


def test_an_old_python(monkeypatch):
    passed(doctor.python())
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    failed(doctor.python(), "3.10.4", "3.11 or newer")


def test_packages_against_pins(monkeypatch, tmp_path):
    pins = tmp_path / "requirements.txt"
    pins.write_text("# the whole set-up\ntorch==2.13.0\nnbval==0.11.0  # compares\npsutil>=7.10\n\n-e .\n")
    wanted = doctor.requirements(pins)
    assert wanted == [
        ("torch", "==", "2.13.0"),
        ("nbval", "==", "0.11.0"),
        ("psutil", ">=", "7.10"),
        ("matchlib", "", ""),
    ]
    monkeypatch.setattr(doctor, "requirements", lambda: wanted)
    found = {"torch": "2.13.0+cpu", "nbval": "0.11.0", "psutil": "7.10.3", "matchlib": "0.1.0"}

    def version(name: str) -> str:
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(metadata, "version", version)
    passed(doctor.packages())
    found["torch"] = "2.12.1+cpu"
    failed(doctor.packages(), "torch is 2.12.1 instead of ==2.13.0", "pip install -r requirements.txt")
    found["torch"], found["psutil"] = "2.13.0", "7.9.3"  # older than 7.10, though not as text
    failed(doctor.packages(), "psutil is 7.9.3 instead of >=7.10", "pip install -r requirements.txt")
    del found["psutil"], found["nbval"]
    failed(doctor.packages(), "nbval is missing; psutil is missing", "pip install -r requirements.txt")


def test_requirements_come_from_the_checkout_else_from_the_installed_package(tmp_path):
    assert ("nbval", "==", metadata.version("nbval")) in doctor.requirements()
    installed = doctor.requirements(tmp_path / "no such file")
    assert "torch" in [name for name, _, _ in installed] and {relation for _, relation, _ in installed} == {">="}


@pytest.mark.parametrize(
    ("found", "asked", "older"), [("7.9", "7.10", True), ("7.10.1", "7.10", False), ("8", "7.10", False)]
)
def test_versions_compare_as_numbers(found, asked, older):
    assert (doctor.numbers(found) < doctor.numbers(asked)) is older


def test_a_torch_that_miscalculates(monkeypatch):
    passed(doctor.device())
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda x, y: x)
    failed(doctor.device(), "multiplies matrices wrongly", "pytorch.org/get-started")


def test_a_gpu_is_named(monkeypatch):
    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size))
    assert doctor.device().detail == f"{torch.__version__.split('+')[0]}, a GPU"


def test_too_little_memory(monkeypatch):
    for gib, check in (
        (8.0, passed),
        (0.4, lambda c: failed(c, "0.4 GiB available of the 1.0", "close other programs")),
    ):
        monkeypatch.setattr(psutil, "virtual_memory", lambda gib=gib: SimpleNamespace(available=gib * 2**30))
        check(doctor.memory())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    passed(doctor.folders((tmp_path / "new",)))
    assert list((tmp_path / "new").iterdir()) == []
    failed(doctor.folders((tmp_path, tmp_path / "file")), "cannot be written", "make the course's folder writable")


def test_the_folders_are_those_of_the_runs(monkeypatch, tmp_path):
    from matchlib import runs

    passed(doctor.folders())
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(runs, "SHIPPED", tmp_path / "file")
    failed(doctor.folders(), "file cannot be written", "make")


def test_a_kernel_that_imports_matchlib():
    passed(doctor.kernel(limit=120.0))


def test_a_kernel_that_is_not_there():
    failed(doctor.kernel(name="no-such-kernel"), "knows no kernel no-such-kernel", "ipykernel install")


def test_a_kernel_that_cannot_import_matchlib():
    check = doctor.kernel(code="import no_such_package", limit=120.0)
    failed(check, "ModuleNotFoundError: No module named 'no_such_package'", "from the environment of the course")


def test_a_kernel_that_never_starts():
    failed(doctor.kernel(limit=0.01), "does not answer within 0.01 s", "close other programs")


def test_a_kernel_that_never_finishes(monkeypatch):
    from jupyter_client.blocking.client import BlockingKernelClient

    monkeypatch.setattr(BlockingKernelClient, "wait_for_ready", lambda self, timeout: None)
    failed(doctor.kernel(code="while True: pass", limit=3.0), "does not answer within 3 s (no reply)", "close other")


def test_a_training_whose_loss_is_no_number(monkeypatch):
    passed(doctor.training())
    for losses in ([1.0, 1.0, 1.0, 1.0, math.nan], [1.0, 1.0]):
        steps = [SimpleNamespace(loss=torch.tensor(loss)) for loss in losses]
        monkeypatch.setattr(training, "fit", lambda state, steps=steps: iter(steps))
        failed(doctor.training(), f"last loss {losses[-1]:.2f}", "reinstall torch")


def test_a_check_that_cannot_run_is_a_failure_and_the_next_still_runs(monkeypatch):
    whole = builtins.__import__

    def without_psutil(name, *rest):
        if name == "psutil":
            raise ModuleNotFoundError("No module named 'psutil'\nsecond line")
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_psutil)
    first, second = doctor.diagnose((doctor.memory, doctor.python))
    failed(first, "ModuleNotFoundError: No module named 'psutil'", "pip install -r requirements.txt")
    passed(second)


def test_every_check_is_run():
    assert [check.__name__ for check in doctor.CHECKS] == [
        "python", "packages", "device", "memory", "folders", "kernel", "training",
    ]  # fmt: skip
