"""A found configuration file cannot choose who answers, until its user consents to that very file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_backend.errors import ConfigError, ConfigFileError, UntrustedConfigError
from llm_backend.llms.settings import config_file, config_toml
from llm_backend.llms.settings.agent_settings import AgentSettings
from llm_backend.llms.settings.config_file import (
    find_config_file,
    get_agent_config,
    read_config_file,
    trust_config_file,
    untrust_config_file,
)
from llm_backend.llms.settings.trust import HOW_TO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = "[agent]\nbase_url = 'http://127.0.0.1:1/v1'\n"
WHO_ANSWERS = {
    "backend",
    "model",
    "revision",
    "base_url",
    "api_key",
    "extra_headers",
    "extra_body",
    "trust_remote_code",
    "use_responses",
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where these tests keep consent; not in the folder that is searched for a file."""
    monkeypatch.setenv("LLM_BACKEND_DATA", str(tmp_path / "data"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "data"


def write(text: str, folder: Path | None = None) -> Path:
    """Write a configuration file."""
    path = (folder or Path.cwd()) / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None = None) -> str:
    """The error for a found file that needs consent."""
    with pytest.raises(UntrustedConfigError) as caught:
        read_config_file()
    return str(caught.value).replace(str(path), "config.toml")


def standing() -> str:
    """Why the file that is read may be believed."""
    file = read_config_file()
    assert file is not None
    return file.standing


def records(data: Path) -> list[Path]:
    """The files that hold consent."""
    return list((data / "trusted").iterdir())


@pytest.mark.parametrize("section", ["agent", "agent.openai", "agent.huggingface"])
@pytest.mark.parametrize("name", AgentSettings.model_fields)
def test_every_setting_says_how_or_who(name: str, section: str) -> None:
    """A found file may say how to answer; any other setting needs consent, in any section."""
    if name == "backend" and section != "agent":
        section = "agent"
    path = write(f"[{section}]\n{name} = 1\n")
    if name in HOW_TO_ANSWER:
        assert standing() == "found"
    else:
        assert f": {name} in [{section}]. Read it" in refusal(path)


def test_who_answers_is_never_how() -> None:
    """No setting that sends texts or keys elsewhere, or runs a model's code, goes without consent."""
    assert not HOW_TO_ANSWER & WHO_ANSWERS
    assert AgentSettings.model_fields.keys() > HOW_TO_ANSWER


def test_the_refusal_says_what_and_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names file, settings, sections and next steps, but no value."""
    folder = Path.cwd() / "two words"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = write("[agent]\nmodel = 'm'\ntop_k = 1\n[agent.openai]\nbase_url = 'http://x'\napi_key = 'sk-secret'\n")
    assert refusal(path) == (
        "config.toml was found, not named by you, and chooses who answers, or uses your variables:"
        " model in [agent]; base_url, api_key in [agent.openai]. Read it, and if you trust it, run:"
        " llm-backend config trust 'config.toml'."
        " Or name it yourself (--config, LLM_BACKEND_CONFIG, config_file=...),"
        " or ignore it (--no-config, use_config=False)."
    )


@pytest.mark.parametrize(
    "text",
    [
        "[agent]\ndevice = '${HOME}'",
        "[agent]\nunknown = ['a${HOME}']",
        "[agent]\nreasoning_effort = { effort = '${HOME}' }",
        "[agent.langchain]\ntimeout = '$${x} ${HOME}'",
    ],
)
def test_variables_need_consent(text: str) -> None:
    """A found file that uses an environment variable needs consent."""
    write(text)
    assert "${HOME} in [agent" in refusal()


def test_plain_characters_are_no_variable() -> None:
    """``$${`` reads no variable, and needs no consent."""
    write("[agent]\ndevice = '$${HOME}'")
    assert standing() == "found"


@pytest.mark.filterwarnings("ignore:.*old name:DeprecationWarning")
def test_old_names_need_consent() -> None:
    """Sections of the original system need consent too."""
    write("[midori_ai_agent_base.openai]\nbase_url = 'http://x'")
    assert "base_url in [midori_ai_agent_base.openai]" in refusal()


def test_a_typo_is_told_as_one() -> None:
    """An unknown key is an error of the file, not a matter of consent."""
    write("[agent]\ntemprature = 1")
    with pytest.raises(ConfigError, match="Did you mean 'temperature'"):
        get_agent_config()


def test_a_named_file_needs_no_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file named in an argument or in the environment needs no consent."""
    path = write(SERVER)
    for named in (path, str(path), "config.toml", Path("config.toml")):
        file = read_config_file(named)
        assert file is not None
        assert (file.path, file.standing) == (path, "named")
    other = write(SERVER, tmp_path)
    monkeypatch.setenv("LLM_BACKEND_CONFIG", str(other))
    assert standing() == "named"
    named_file = read_config_file(path)
    assert named_file is not None
    assert named_file.path == path


@pytest.mark.parametrize("name", ["", "missing.toml", "."])
def test_a_named_file_has_to_be_there(name: str, tmp_path: Path) -> None:
    """A named file that does not exist is an error, and no other is read instead."""
    write(SERVER)
    with pytest.raises(ConfigFileError) as caught:
        read_config_file(name)
    place = Path(tmp_path / "project" / name)
    assert str(caught.value) == f"config_file names {str(place)!r}, which is not a file. Correct the path."


@pytest.mark.parametrize(
    "place", [lambda: None, Path.cwd, lambda: Path("config.toml"), lambda: Path("../project/config.toml")]
)
def test_consent(place: Callable[[], Path | None], data: Path) -> None:
    """Consent by file, by folder, or to what is found holds for that file, and only its owner can read it."""
    path = write(SERVER)
    assert refusal(path)
    trusted = trust_config_file(place())
    assert (trusted.path, trusted.consents()) == (path, ["base_url in [agent]"])
    file = read_config_file()
    assert file is not None
    assert (file.path, file.standing, file.common) == (path, "trusted", {"base_url": "http://127.0.0.1:1/v1"})
    [record] = records(data)
    assert (record.stat().st_mode & 0o777, record.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_consent_can_be_withdrawn(data: Path) -> None:
    """Consent can be withdrawn, also after the file is gone, and more than once."""
    path = write(SERVER)
    trust_config_file()
    assert untrust_config_file() == (path, True)
    assert "changed" not in refusal(path)
    trust_config_file()
    path.unlink()
    assert untrust_config_file(path) == (path, True)
    assert untrust_config_file(path) == (path, False)
    assert records(data) == []


def test_a_change_of_the_file_withdraws_consent(data: Path) -> None:
    """A changed file needs new consent, which replaces the old record, unless it needs none now."""
    path = write(SERVER)
    trust_config_file()
    write(SERVER + "\n")
    assert "It has changed since you trusted it. Read it" in refusal(path)
    write("[agent]\ntop_k = 1")
    assert standing() == "changed"
    write(SERVER + "\n")
    trust_config_file()
    assert standing() == "trusted"
    assert len(records(data)) == 1
    write(SERVER)
    assert refusal(path)


def test_consent_holds_for_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a trusted file elsewhere, or a link to it, needs its own consent."""
    path = write(SERVER)
    trust_config_file()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    copy = write(SERVER)
    assert refusal(copy)
    copy.unlink()
    copy.symlink_to(path)
    assert refusal(copy)


def test_a_folder_s_other_names_are_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is entered by a link is the folder itself."""
    path = write(SERVER)
    (tmp_path / "link").symlink_to(tmp_path / "project")
    trust_config_file(tmp_path / "link" / "config.toml")
    monkeypatch.chdir(tmp_path / "link")
    assert standing() == "trusted"
    assert find_config_file(tmp_path / "link") == path


def test_what_was_digested_is_what_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file replaced during the read is either the trusted one, whole, or refused."""
    path = write(SERVER)
    trust_config_file()
    read = config_toml.read_content

    def read_and_replace(file: Path) -> bytes:
        content = read(file)
        path.write_text("[agent]\nbase_url = 'http://attacker'\n")
        return content

    monkeypatch.setattr(config_file, "read_content", read_and_replace)
    file = read_config_file()
    assert file is not None
    assert file.common == {"base_url": "http://127.0.0.1:1/v1"}
    assert refusal(path)


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o620, 0o602])
def test_consent_that_others_may_have_written_is_none(mode: int, data: Path) -> None:
    """A record whose permissions let others in does not count."""
    write(SERVER)
    trust_config_file()
    records(data)[0].chmod(mode)
    assert refusal()


def test_consent_of_another_user_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that belongs to another user does not count."""
    write(SERVER)
    trust_config_file()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert refusal()


@pytest.mark.parametrize("place", ["data", ".", "sub/../data"])
def test_consent_that_a_repository_brings_is_none(place: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records inside the file's own repository do not count, and cannot be made."""
    write(SERVER)
    monkeypatch.setenv("LLM_BACKEND_DATA", place)
    trust_config_file()
    assert standing() == "trusted"
    (Path.cwd() / ".git").mkdir()
    assert refusal()
    with pytest.raises(ConfigError, match=r"in the same repository as .* Set LLM_BACKEND_DATA to a folder elsewhere"):
        trust_config_file()
    monkeypatch.setenv("LLM_BACKEND_DATA", str(data))
    trust_config_file()
    assert standing() == "trusted"


def test_consent_to_another_file_is_none(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record moved to another file's name is not consent to that file."""
    write(SERVER)
    trust_config_file()
    [record] = records(data)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    write(SERVER)
    trust_config_file()
    [second] = set(records(data)) - {record}
    record.replace(second)
    assert "changed" not in refusal()


def test_only_what_is_there_can_be_trusted() -> None:
    """A missing or wrong file cannot be trusted, and leaves no record."""
    with pytest.raises(ConfigFileError, match=r"^There is no config\.toml in this folder or above it\. Name the file"):
        trust_config_file()
    with pytest.raises(ConfigFileError, match="cannot be read: No such file or directory"):
        trust_config_file(Path("nowhere/config.toml"))
    write("[agent")
    with pytest.raises(ConfigFileError, match="is not valid TOML"):
        trust_config_file()


def test_consent_that_cannot_be_kept_is_an_error(data: Path) -> None:
    """A folder that cannot be written is an error, and leaves nothing half done."""
    path = write(SERVER)
    trust_config_file()
    [record] = records(data)
    record.unlink()
    record.mkdir()
    for change in (trust_config_file, untrust_config_file):
        with pytest.raises(
            ConfigError, match=r"^Consent is stored in '.*', which cannot be written: .*LLM_BACKEND_DATA"
        ):
            change(path)
    assert records(data) == [record]
    assert refusal(path)


@pytest.mark.parametrize("top", ["folder", "file"])
def test_the_search_stays_in_the_repository(top: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From inside a repository, only files up to its top are found."""
    outside = write("", tmp_path)
    repository = tmp_path / "project"
    inner = repository / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert find_config_file() == outside
    if top == "folder":
        (repository / ".git").mkdir()
    else:
        (repository / ".git").write_text("gitdir: ../elsewhere")
    assert find_config_file() is None
    path = write("", repository)
    assert find_config_file() == path


def test_the_search_stays_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From inside the home folder, only files up to its top are found."""
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "project"))
    write("", tmp_path)
    inner = tmp_path / "project" / "a"
    inner.mkdir()
    assert find_config_file(inner) is None
    path = write("", tmp_path / "project")
    assert find_config_file(inner) == path


@pytest.mark.parametrize(
    ("section", "meant"),
    [
        ("[agnet]\nmodel = 'm'", "agent"),
        ("[Agent]\ntemperature = 1", "agent"),
        ('["agent\\u001b"]\ntemperature = 1', "agent"),
        ("[agents.openai]\nbase_url = 'http://x'", "agent"),
        ("[midori_ai_agent.openai]\nmodel = 'm'", "midori_ai_agent_base"),
    ],
)
def test_a_section_that_looks_like_ours_is_refused(section: str, meant: str) -> None:
    """A section with a misspelled name of ours is refused."""
    name = section.partition("]")[0].partition(".")[0][1:].strip('"').replace("\\u001b", "\\x1b")
    path = write(section)
    with pytest.raises(ConfigError) as caught:
        read_config_file()
    assert str(caught.value) == (
        f"{path}: there is no section [{name}]. Did you mean [{meant}]? If it belongs to another program,"
        " keep ours in a separate file, and name that in LLM_BACKEND_CONFIG."
    )


@pytest.mark.parametrize(
    "section",
    ["[agents.writer]\nrole = 'x'", "[parent]\nmodel = 'm'", "[client]\ntimeout = 1", "[agnet]", "agents = ['model']"],
)
def test_other_programs_sections_are_left_alone(section: str) -> None:
    """Sections of other programs are ignored, even with a name like ours."""
    write(section)
    assert standing() == "found"
