"""Machine and model are measured in bytes, and what does not fit is refused."""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from llm_backend.errors import InsufficientMemoryError
from llm_backend.llms.models import memory as safety
from llm_backend.llms.models.memory import (
    ensure_ram,
    get_available_memory,
    get_available_vram,
    pick_device,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FREE = 1_000_000


@pytest.fixture
def cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with FREE bytes, and an empty directory instead of the kernel's control groups."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=FREE))
    monkeypatch.setattr(safety, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(safety, "_CGROUP_MOUNT", tmp_path / "cgroup")
    return tmp_path


def _write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_real_memory_is_plausible() -> None:
    """This machine's memory is measured in bytes."""
    assert 2**20 < get_available_memory() <= psutil.virtual_memory().total


@pytest.mark.usefixtures("cgroups")
def test_without_control_groups_the_machine_counts() -> None:
    """Without control groups the machine's free memory counts."""
    assert get_available_memory() == FREE


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"memory.max": "900\n", "memory.current": "500\n", "memory.stat": "anon 1\ninactive_file 100\n"},
            900 - 500 + 100,
            id="limit",
        ),
        pytest.param({"memory.max": "900\n", "memory.current": "500\n"}, 400, id="no counters"),
        pytest.param({"memory.max": "max\n", "memory.current": "500\n"}, FREE, id="unlimited"),
        pytest.param({"memory.max": "9000000\n", "memory.current": "500\n"}, FREE, id="limit above the machine"),
        pytest.param({"memory.max": "400\n", "memory.current": "500\n"}, 0, id="over the limit"),
        pytest.param({}, FREE, id="no memory controller"),
    ],
)
def test_control_groups_of_version_2_count(cgroups: Path, files: dict[str, str], expected: int) -> None:
    """A container's limit counts, and its reclaimable cache is free."""
    _write(cgroups, {"own": "0::/a/b\n"})
    _write(cgroups / "cgroup" / "a" / "b", files)
    assert get_available_memory() == expected


@pytest.mark.parametrize("level", [".", "a", "a/b"])
def test_limits_of_ancestors_count(cgroups: Path, level: str) -> None:
    """The limit of a surrounding group counts."""
    _write(cgroups, {"own": "0::/a/b\n"})
    _write(cgroups / "cgroup" / level, {"memory.max": "900", "memory.current": "500"})
    assert get_available_memory() == 400


def test_limits_outside_the_mount_do_not_count(cgroups: Path) -> None:
    """Files outside the control groups' mount are not read."""
    _write(cgroups, {"own": "0::/a\n", "memory.max": "900", "memory.current": "500"})
    assert get_available_memory() == FREE


def test_control_groups_of_version_1_count(cgroups: Path) -> None:
    """An older container's limit counts, even where its path is the host's."""
    _write(cgroups, {"own": "9:name=systemd:/\n5:cpu,cpuacct:/x\n4:memory:/docker/0123\n0::/\n"})
    files = {"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "500", "memory.stat": "total_inactive_file 7"}
    _write(cgroups / "cgroup" / "memory", files)
    _write(cgroups / "cgroup" / "cpu", {"memory.limit_in_bytes": "1", "memory.usage_in_bytes": "1"})
    assert get_available_memory() == 407


@pytest.mark.usefixtures("cgroups")
def test_what_fits_passes() -> None:
    """A model that just fits passes."""
    assert ensure_ram(FREE) is None  # type: ignore[func-returns-value]


@pytest.mark.usefixtures("cgroups")
def test_what_does_not_fit_is_refused() -> None:
    """A model that is too large is refused before it is loaded."""
    with pytest.raises(InsufficientMemoryError) as caught:
        ensure_ram(FREE + 1)
    assert str(caught.value) == (
        "This needs 1,000,001 bytes of memory, but only 1,000,000 are free. Choose a smaller model,"
        " a smaller context_window, quantization or another device, close other programs, or use a larger machine."
    )
    assert (caught.value.required, caught.value.available) == (FREE + 1, FREE)


@pytest.mark.usefixtures("cgroups")
def test_a_gpus_own_memory_counts() -> None:
    """A model for a GPU is measured by the GPU's memory, and the error says what was refused."""
    ensure_ram(FREE + 1, "It", FREE + 1)
    with pytest.raises(InsufficientMemoryError, match="It needs 1 bytes of memory, but only 0 are free"):
        ensure_ram(1, "It", 0)


class FakeNvml(ModuleType):
    """NVML on a machine with one GPU, and with the faults that a test orders."""

    class NVMLError(Exception):
        """Root of NVML's errors."""

    class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818  (NVML's name)
        """The driver is not installed."""

    class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801, N818  (NVML's name)
        """The driver is installed, but not loaded."""

    def __init__(self, **faults: Exception) -> None:
        super().__init__("pynvml")
        self.faults = faults
        self.users = 0

    def nvmlInit(self) -> None:  # noqa: N802  (NVML's name)
        """Begin."""
        self._fail("nvmlInit")
        self.users += 1

    def nvmlShutdown(self) -> None:  # noqa: N802  (NVML's name)
        """End."""
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802  (NVML's name)
        """One GPU."""
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802  (NVML's name)
        """That GPU."""
        self._fail("nvmlDeviceGetHandleByIndex")
        return f"gpu {index}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802  (NVML's name)
        """Its memory."""
        return SimpleNamespace(free={"gpu 0": 123}[handle], total=456)

    def _fail(self, call: str) -> None:
        if call in self.faults:
            raise self.faults[call]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make these modules, and no others, the installed ones."""

    def put(*modules: ModuleType) -> None:
        for module in modules:
            monkeypatch.setitem(sys.modules, module.__name__, module)
        names = {module.__name__ for module in modules}
        monkeypatch.setattr(safety, "is_installed", lambda name: name in names)

    return put


def test_vram_is_read(install: Callable[..., None]) -> None:
    """Free memory is read, not total memory, and NVML is shut down afterwards."""
    nvml = FakeNvml()
    install(nvml)
    assert get_available_vram() == 123
    assert nvml.users == 0


def test_a_gpu_that_is_not_there_has_no_memory(install: Callable[..., None]) -> None:
    """A second GPU has no memory on a machine with one."""
    nvml = FakeNvml()
    install(nvml)
    assert get_available_vram(1) == 0
    assert nvml.users == 0


def test_without_the_library_there_is_no_vram(install: Callable[..., None]) -> None:
    """Without NVIDIA's library there is no GPU memory."""
    install()
    assert get_available_vram() == 0


@pytest.mark.parametrize("error", [FakeNvml.NVMLError_LibraryNotFound, FakeNvml.NVMLError_DriverNotLoaded])
def test_without_a_driver_there_is_no_vram(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    """Without a driver there is no GPU memory, and nothing is logged."""
    install(FakeNvml(nvmlInit=error()))
    assert get_available_vram() == 0
    assert caplog.records == []


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetHandleByIndex"])
def test_a_broken_driver_is_logged(install: Callable[..., None], caplog: pytest.LogCaptureFixture, call: str) -> None:
    """A GPU that does not respond is logged as a warning, and NVML is shut down."""
    nvml = FakeNvml(**{call: FakeNvml.NVMLError("version mismatch")})
    install(nvml)
    assert get_available_vram() == 0
    message = "the NVIDIA driver does not answer, so the memory of GPU 0 is not counted: version mismatch"
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.WARNING, message)]
    assert nvml.users == 0


def _torch(*free: int, mps: bool = False) -> ModuleType:
    """Torch on a machine whose GPUs have this much free memory."""
    torch: Any = ModuleType("torch")
    torch.cuda = SimpleNamespace(
        is_available=lambda: bool(free),
        device_count=lambda: len(free),
        mem_get_info=lambda index: (free[index], 999),
    )
    torch.backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps))
    module: ModuleType = torch
    return module


@pytest.mark.usefixtures("cgroups")
@pytest.mark.parametrize(
    ("torch", "min_vram", "device"),
    [
        pytest.param(_torch(), 0, "cpu", id="no GPU"),
        pytest.param(_torch(5), 0, "cuda:0", id="any GPU"),
        pytest.param(_torch(5, 7), 6, "cuda:1", id="the one with room"),
        pytest.param(_torch(5, 7), 7, "cuda:1", id="just enough room"),
        pytest.param(_torch(5, 7), 8, "cpu", id="none with room"),
        pytest.param(_torch(mps=True), FREE, "mps", id="unified memory"),
        pytest.param(_torch(mps=True), FREE + 1, "cpu", id="too little unified memory"),
    ],
)
def test_a_device_is_picked(install: Callable[..., None], torch: ModuleType, min_vram: int, device: str) -> None:
    """A GPU with enough room is picked, and one without is not."""
    install(torch)
    assert pick_device(min_vram) == device


def test_without_torch_the_device_is_the_cpu(install: Callable[..., None]) -> None:
    """Without torch the device is the CPU."""
    install()
    assert pick_device() == "cpu"
