"""Engines of other distributions join by entry point, and a fault in one is reported by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llm_backend.errors import MissingExtraError
from llm_backend.llms import availability
from llm_backend.llms.engine_registry import ENGINES, LOCAL_ENGINE, SERVER_ENGINE, engine_names, import_agent_class
from tests.unit.backend.engine_packages import Folder, echo_engine, install, write_wheel

DESCRIBED = "from llm_backend.llms import Engine\nENGINE = Engine({})\n"
# By distribution: the engines that it offers, and its modules.
TROUBLES = {
    "needy-engine": (
        {"needy": "needy:ENGINE"},
        {"needy.py": DESCRIBED.format("agent='needy_agent:Agent', libraries=('h3_absent',), extra='fast'")},
    ),
    "bare-engine": (
        {"bare": "bare:ENGINE"},
        {"bare.py": DESCRIBED.format("agent='h3_bare:Agent', libraries=('h3_absent',)")},
    ),
    "broken-engine": ({"broken": "broken_engine:ENGINE"}, {"broken_engine.py": "raise OSError('libfoo')\n"}),
    "gone-engine": ({"gone": "h3_gone:ENGINE"}, {}),
    "shapeless-engine": ({"shapeless": "shapeless:ENGINE"}, {"shapeless.py": "ENGINE = 'agent'\n"}),
    "headless-engine": ({"headless": "headless:ENGINE"}, {"headless.py": DESCRIBED.format("agent='h3_gone:Agent'")}),
    "nameless-engine": ({"nameless": "nameless:ENGINE"}, {"nameless.py": DESCRIBED.format("agent='nameless:Agent'")}),
    "idle-engine": (
        {"idle": "idle:ENGINE"},
        {"idle.py": DESCRIBED.format("agent='idle:Agent'") + "class Agent: ...\n"},
    ),
    "leaving-engine": ({"leaving": "leaving:ENGINE"}, {"leaving.py": "import sys\nsys.exit('no licence')\n"}),
    "lonely-engine": (
        {"lonely": "lonely:ENGINE"},
        {"lonely.py": DESCRIBED.format("agent='lonely_agent:Agent'"), "lonely_agent.py": "raise SystemExit(7)\n"},
    ),
    "misspelt-engine": ({"misspelt": "not a module"}, {}),
    "vague-engine": ({"vague": "vague:ENGINE"}, {"vague.py": DESCRIBED.format("agent='vague'")}),
    "spelling-engine": (
        {"spelling": "spelling:ENGINE"},
        {"spelling.py": DESCRIBED.format("agent='spelling:Agent', libraries='json'")},
    ),
    "cloud-engine": (
        {"cloud": "cloud:ENGINE"},
        {"cloud.py": DESCRIBED.format("agent='cloud:Agent', libraries=('h3_absent.cloud',)")},
    ),
    "hasty-engine": (
        {"hasty": "hasty:ENGINE"},
        {"hasty.py": DESCRIBED.format("agent='hasty:Agent'") + "class Agent:\n    create = str\n"},
    ),
    "other-engine": (
        {"other": "other:ENGINE"},
        {
            "other.py": DESCRIBED.format("agent='other:Agent'")
            + "class Agent:\n    async def create(settings):\n        return 'agent'\n"
        },
    ),
    "another-openai": ({"openai": "needy:ENGINE"}, {}),
    "first-twin": ({"twin": "needy:ENGINE"}, {}),
    "second-twin": ({"twin": "needy:ENGINE"}, {}),
}
# By engine: the error, and what it says.
ERRORS = {
    "needy": (
        "MissingExtraError",
        "The needy engine needs h3_absent, which is not installed. Install it with: pip install 'needy-engine[fast]'.",
    ),
    "bare": (
        "MissingExtraError",
        "The bare engine needs h3_absent, which is not installed. Install it with: pip install bare-engine.",
    ),
    "broken": (
        "BrokenExtraError",
        (
            "The broken engine of broken-engine is installed, but broken_engine:ENGINE cannot be loaded (OSError:"
            " libfoo). Install it again with: pip install --force-reinstall broken-engine."
        ),
    ),
    "gone": (
        "BrokenExtraError",
        (
            "The gone engine of gone-engine is installed, but h3_gone:ENGINE cannot be loaded (ModuleNotFoundError: No"
            " module named 'h3_gone'). Install it again with: pip install --force-reinstall gone-engine."
        ),
    ),
    "shapeless": (
        "BrokenExtraError",
        (
            "The shapeless engine of shapeless-engine is installed, but shapeless:ENGINE cannot be loaded (it is of"
            " type str, not an Engine). Install it again with: pip install --force-reinstall shapeless-engine."
        ),
    ),
    "headless": (
        "BrokenExtraError",
        (
            "The headless engine needs h3_gone:Agent, which headless-engine lacks."
            " Install it again with: pip install --force-reinstall headless-engine."
        ),
    ),
    "nameless": (
        "BrokenExtraError",
        (
            "The nameless engine needs nameless:Agent, which nameless-engine lacks."
            " Install it again with: pip install --force-reinstall nameless-engine."
        ),
    ),
    "idle": (
        "BrokenExtraError",
        "The idle engine of idle-engine is broken: idle:Agent has no method create. Tell its authors.",
    ),
    "leaving": (
        "BrokenExtraError",
        (
            "The leaving engine of leaving-engine is installed, but leaving:ENGINE cannot be loaded (SystemExit: no"
            " licence). Install it again with: pip install --force-reinstall leaving-engine."
        ),
    ),
    "lonely": (
        "BrokenExtraError",
        (
            "The lonely engine needs lonely_agent, which is installed but does not import (SystemExit: 7)."
            " Install it again with: pip install --force-reinstall lonely-engine."
        ),
    ),
    "vague": (
        "BrokenExtraError",
        (
            "The vague engine of vague-engine is installed, but vague:ENGINE cannot be loaded (ConfigError: agent of"
            " this Engine is 'vague'. Give where its class is, as 'module:Class'.). Install it again with: pip install"
            " --force-reinstall vague-engine."
        ),
    ),
    "spelling": (
        "BrokenExtraError",
        (
            "The spelling engine of spelling-engine is installed, but spelling:ENGINE cannot be loaded (ConfigError:"
            " libraries of this Engine is 'json'. Give a tuple of the modules' names, such as ('torch',).). Install it"
            " again with: pip install --force-reinstall spelling-engine."
        ),
    ),
    "cloud": (
        "MissingExtraError",
        ("The cloud engine needs h3_absent.cloud, which is not installed. Install it with: pip install cloud-engine."),
    ),
    "openai": (
        "BrokenExtraError",
        "llm-backend and another-openai both offer an engine 'openai'. Uninstall all but one of them.",
    ),
    "twin": (
        "BrokenExtraError",
        "first-twin and second-twin both offer an engine 'twin'. Uninstall all but one of them.",
    ),
}
# Its class is there, so doctor finds nothing; what it makes is no agent.
MADE = {
    "hasty": (
        "BrokenExtraError",
        "The hasty engine is broken: create of hasty.Agent is not async. Ask its authors.",
    ),
    "other": (
        "BrokenExtraError",
        "The other engine is broken: create of other.Agent makes a str, which is no Agent. Ask its authors.",
    ),
}
LOAD = """
import asyncio, json
from llm_backend.errors import BackendError
from llm_backend.llms import load_agent

async def main():
    told = {}
    for name in %r:
        try:
            await load_agent(name)
        except BackendError as exc:
            told[name] = [type(exc).__name__, str(exc)]
    print(json.dumps(told))

asyncio.run(main())
"""
ASK = """
import asyncio, json
from llm_backend.llms import load_agent

async def main():
    async with load_agent("echo", validate=False, settings={"context_window": 7}) as agent:
        answer = await agent.invoke("Polly?")
        print(json.dumps([answer.response, answer.metadata["engine"], await agent.get_context_window()]))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The example engine, installed."""
    folder = tmp_path_factory.mktemp("echo")
    return install(folder / "installed", echo_engine(folder))


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Installed distributions, each with a fault."""
    folder = tmp_path_factory.mktemp("troubles")
    return install(folder / "installed", *(write_wheel(folder, name, *parts) for name, parts in TROUBLES.items()))


def test_an_engine_of_another_distribution_answers(echo: Folder) -> None:
    """The engine is loaded by its name, with settings, and answers."""
    assert echo.says(ASK) == ["Polly?", "echo", 7]


def test_the_command_takes_it(echo: Folder) -> None:
    """The option --engine accepts its name, and completes it."""
    assert echo.command("chat", "--engine", "echo", "Polly?").stdout == "Polly?\n"
    words = {"_LLM_BACKEND_COMPLETE": "complete_bash", "COMP_WORDS": "llm-backend chat --engine e", "COMP_CWORD": "3"}
    assert echo.command(**words).stdout == "echo\n"


def test_a_configuration_file_takes_it(echo: Folder) -> None:
    """A file can choose it, and can have a section for it."""
    Path("config.toml").write_text("[agent]\nbackend = 'echo'\n[agent.echo]\nmodel = './polly'\n", "utf-8")
    done = echo.command("config", "--json", "--config", "config.toml", AF_LLM_MODEL="m", OPENAI_API_KEY="k" * 9)
    shown = json.loads(done.stdout)
    assert shown["backend"]["value"] == "echo"
    # It asks no server: the path starts from the file's folder, and the server's key goes elsewhere.
    assert (shown["model"]["value"], shown["api_key"]["value"]) == (str(Path.cwd() / "polly"), "")
    assert shown["model"]["from"].endswith("config.toml [agent.echo]")


def test_doctor_shows_it(echo: Folder) -> None:
    """Doctor names the distribution and its version."""
    finding = echo.doctor()["engine echo"]
    assert (finding["state"], finding["fact"]) == ("ok", "echo-engine 1.0")


def test_it_is_checked_as_ours_are(echo: Folder) -> None:
    """It is validated as ours are, and errors about unknown engines list it."""
    told = echo.says(LOAD % (["echo", "ecko"],))
    assert told["echo"][0] == "AgentValidationError"
    assert told["ecko"] == [
        "UnknownEngineError",
        (
            "argument backend: there is no engine 'ecko'. Did you mean 'echo'?"
            f" Use one of: {', '.join(map(repr, [*ENGINES, 'echo']))}."
        ),
    ]


def test_it_is_found_without_being_imported(echo: Folder) -> None:
    """Importing the package looks for no engines, and listing them imports none."""
    code = """
import sys, json, llm_backend, llm_backend.llms
registry = "llm_backend.llms.engine_registry"
looked = registry in sys.modules
from llm_backend.llms.engine_registry import engine_names
print(json.dumps([looked, engine_names()[-1], "echo_engine" in sys.modules]))
"""
    assert echo.says(code) == [False, "echo", False]


def test_what_is_wrong_with_an_engine_is_told(troubles: Folder) -> None:
    """A faulty engine raises a named error, and doctor reports it as missing or broken."""
    told = {name: tuple(error) for name, error in troubles.says(LOAD % (list(ERRORS),)).items()}
    assert told == ERRORS
    [name, message] = troubles.says(LOAD % (["misspelt"],))["misspelt"]
    assert name == "BrokenExtraError"
    assert message.startswith(
        "The misspelt engine of misspelt-engine is installed, but not a module cannot be loaded ("
    )
    assert {name: tuple(error) for name, error in troubles.says(LOAD % (list(MADE),)).items()} == MADE
    found = troubles.doctor()
    states = {name: found[f"engine {name}"]["state"] for name in ERRORS}
    assert states == {
        name: "missing" if error == "MissingExtraError" else "broken" for name, (error, _) in ERRORS.items()
    }


def test_an_engine_of_a_distribution_that_is_half_gone_is_broken(echo: Folder, tmp_path: Path) -> None:
    """Metadata without a name, as an interrupted pip leaves it, breaks that engine and neither doctor nor others."""
    folder = Folder(shutil.copytree(echo.place, tmp_path / "installed"))
    (folder.place / "echo_engine-1.0.dist-info" / "METADATA").unlink()
    finding = folder.doctor()["engine echo"]
    assert (finding["state"], finding["fact"]) == (
        "broken",
        f"The echo engine comes from a distribution in {folder.place} whose metadata has no name",
    )
    assert finding["todo"] == "Install that again, or remove its .dist-info folder."


def test_an_interrupt_while_an_engine_is_imported_is_no_broken_engine(tmp_path: Path) -> None:
    """Ctrl-C during the import of an engine's module stays an interrupt."""
    wheel = write_wheel(tmp_path, "long-engine", {"long": "long:ENGINE"}, {"long.py": "raise KeyboardInterrupt\n"})
    folder = install(tmp_path / "installed", wheel)
    done = folder.run("from llm_backend.llms.engine_registry import find_engine; find_engine('long')")
    assert done.stderr.endswith("\nKeyboardInterrupt\n")


def test_the_huggingface_engines_message_is_the_documented_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most frequent error of all says what to install."""
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        import_agent_class("huggingface")
    assert str(caught.value) == (
        "The huggingface engine needs torch, which is not installed."
        " Install it with: pip install '.[llm]', in a checkout of llm-backend."
    )
    assert caught.value.name == "torch"


def test_the_engines_that_are_chosen_are_there() -> None:
    """A server's address chooses an engine that asks one; torch, one that does not."""
    assert [ENGINES[name].asks_server for name in (SERVER_ENGINE, LOCAL_ENGINE)] == [True, False]
    assert set(ENGINES) <= set(engine_names())
