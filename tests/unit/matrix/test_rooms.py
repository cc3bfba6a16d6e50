"""Tests of what a machine provides for the rooms."""

from __future__ import annotations

import os
import re
import stat
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from matrix.rooms import (
    Machine,
    PackageSource,
    data_file,
    forget_receipt,
    gpus,
    leave_note,
    lock_environment,
    package_source,
    pip_environment,
    pytest_arguments,
    receipts,
    torch_build,
    torch_trouble,
    unfinished,
    unpack_without_packages,
)

if TYPE_CHECKING:
    from pathlib import Path

EXTRA = "https://extra.invalid/simple"
MIRROR = "https://mirror.invalid/simple"


def machine(folder: Path, *told: str, **environ: str) -> Machine:
    """Return a machine with these variables, the files that a test writes, and a pip that names them as its own."""
    debug = (sys.executable, "-c", f"print({chr(10).join(told)!r})")
    return Machine(environ, home=folder / "home", root=folder / "root", pip=debug if told else ())


def write(path: Path, text: str) -> None:
    """Write a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def hold_torch(room: Path, cuda: str, lib: str = "lib/python3.11/site-packages") -> None:
    """Write the one file of torch that says what it was built for."""
    write(
        room / lib / "torch" / "version.py", f"from typing import Optional\ncuda: Optional[str] = {cuda}\nhip = None\n"
    )


@pytest.mark.parametrize(
    ("environment", "variables"),
    [("llm-cpu", {"UV_TORCH_BACKEND": "cpu"}), ("llm-cuda", {"UV_TORCH_BACKEND": "auto"}), ("no-llm", {})],
)
def test_torch_comes_from_its_own_index_where_nobody_chose(
    tmp_path: Path, environment: str, variables: dict[str, str]
) -> None:
    """Unless a user chose a source, torch comes from its own index, in the build that the environment needs."""
    assert package_source(environment, machine(tmp_path)).variables == variables


@pytest.mark.parametrize("name", ["UV_INDEX", "UV_FIND_LINKS", "UV_TORCH_BACKEND", "UV_DEFAULT_INDEX"])
def test_a_variable_of_uv_wins_over_everything(tmp_path: Path, name: str) -> None:
    """A variable of uv takes precedence over pip's settings and our default."""
    source = package_source("llm-cpu", machine(tmp_path, **{name: EXTRA, "PIP_FIND_LINKS": "/wheels"}))
    assert source == PackageSource(f"uv's own setting {name}")


def test_an_empty_variable_of_uv_is_no_setting(tmp_path: Path) -> None:
    """An empty variable of uv counts as unset."""
    assert package_source("llm-cpu", machine(tmp_path, UV_INDEX="")).variables == {"UV_TORCH_BACKEND": "cpu"}


@pytest.mark.parametrize(
    ("place", "text", "key"),
    [
        ("home/.config/uv/uv.toml", 'torch-backend = "cpu"\n', "torch-backend"),
        ("root/etc/xdg/uv/uv.toml", f'[[index]]\nurl = "{EXTRA}"\n', "index"),
        ("root/etc/uv/uv.toml", '[pip]\nfind-links = ["wheels"]\n', "find-links"),
    ],
)
def test_a_configuration_file_of_uv_wins(tmp_path: Path, place: str, text: str, key: str) -> None:
    """A setting in uv's own configuration file takes precedence."""
    write(tmp_path / place, text)
    source = package_source("llm-cpu", machine(tmp_path, PIP_INDEX_URL=MIRROR))
    assert source == PackageSource(f"uv's own setting {key} in {tmp_path / place}")


def test_the_folders_of_the_user_and_of_the_system_can_be_named(tmp_path: Path) -> None:
    """Configuration files of uv are found where the XDG variables say."""
    system = os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")])
    here = machine(tmp_path, XDG_CONFIG_DIRS=system, XDG_CONFIG_HOME=str(tmp_path / "mine"))
    for folder, key in (("second", "find-links"), ("mine", "index-url")):
        write(tmp_path / folder / "uv" / "uv.toml", f'{key} = "{EXTRA}"\n')
        place = tmp_path / folder / "uv" / "uv.toml"
        assert package_source("llm-cpu", here).reason == f"uv's own setting {key} in {place}"


def test_uv_can_be_told_which_file_to_read_or_none(tmp_path: Path) -> None:
    """UV_CONFIG_FILE and UV_NO_CONFIG count here as they do for uv."""
    write(tmp_path / "home" / ".config" / "uv" / "uv.toml", "no-index = true\n")
    write(tmp_path / "own.toml", 'index-url = "https://own.invalid"\n')
    own = machine(tmp_path, UV_CONFIG_FILE=str(tmp_path / "own.toml"))
    assert package_source("llm-cpu", own).reason == f"uv's own setting index-url in {tmp_path / 'own.toml'}"
    assert package_source("llm-cpu", machine(tmp_path, UV_NO_CONFIG="1")).reason == "uv's torch backend cpu"


def test_a_broken_file_is_left_to_the_program_that_owns_it(tmp_path: Path) -> None:
    """A broken configuration file of uv raises nothing here: uv reports it."""
    write(tmp_path / "home" / ".config" / "uv" / "uv.toml", "index = [\n")
    assert package_source("llm-cpu", machine(tmp_path)).reason == "uv's torch backend cpu"


def test_settings_of_pip_are_translated(tmp_path: Path) -> None:
    """What pip finds on this machine, uv finds too."""
    here = machine(
        tmp_path,
        "env_var:",
        "  PIP_NO_INDEX='1'",
        "env:",
        "global:",
        "  /etc/xdg/pip/pip.conf, exists: True",
        "    global.find-links: ",
        "    /a",
        "    /b",
        "    global.timeout: 3",
        f"    install.index-url: {MIRROR}",
        "  /etc/pip.conf, exists: False",
        "site:",
        "  /prefix/pip.conf, exists: True",
        f"    global.extra-index-url: {EXTRA} file:///more",
        "user:",
        "  /home/.config/pip/pip.conf, exists: True",
        "    global.index-url: https://weaker.invalid",
        "    global.extra-index-url: https://weaker.invalid",
        PIP_NO_INDEX="1",
    )
    assert package_source("llm-cpu", here) == PackageSource(
        "pip's extra-index-url, find-links, index-url, no-index",
        {
            "UV_DEFAULT_INDEX": MIRROR,
            "UV_FIND_LINKS": "/a,/b",
            "UV_INDEX": f"{EXTRA} file:///more",
            "UV_INDEX_STRATEGY": "unsafe-best-match",
            "UV_NO_INDEX": "1",
        },
    )


def test_a_setting_of_pip_that_says_no_is_none(tmp_path: Path) -> None:
    """``no-index = false`` cuts uv off from no index."""
    source = package_source("llm-cpu", machine(tmp_path, PIP_NO_INDEX="false", PIP_FIND_LINKS=" "))
    assert source.variables == {"UV_TORCH_BACKEND": "cpu"}


def test_the_certificates_of_pip_are_handed_on_unless_others_are_set(tmp_path: Path) -> None:
    """The certificates of pip are passed to uv, unless the user has set others."""
    assert package_source("no-llm", machine(tmp_path, PIP_CERT="/ca.pem")).variables == {"SSL_CERT_FILE": "/ca.pem"}
    assert package_source("no-llm", machine(tmp_path, PIP_CERT="/ca.pem", SSL_CERT_FILE="/b.pem")).variables == {}


@pytest.mark.parametrize("of_nox", [True, False])
def test_the_pip_at_hand_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, of_nox: bool) -> None:
    """The pip next to nox is asked, or else the one on the path, or else none."""
    monkeypatch.setattr("matrix.rooms.find_spec", {"pip": "pip"}.get if of_nox else {}.get)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Machine().pip == ((sys.executable, "-m", "pip") if of_nox else ())
    write(tmp_path / "pip3", "#!/bin/sh\n")
    (tmp_path / "pip3").chmod(0o700)
    assert Machine().pip == ((sys.executable, "-m", "pip") if of_nox else (str(tmp_path / "pip3"),))


def test_locks_are_compiled_from_whole_indexes_only(tmp_path: Path) -> None:
    """Locks are compiled from the main index only, without folders of files or extra indexes."""
    here = machine(tmp_path, PIP_FIND_LINKS="/wheels", PIP_EXTRA_INDEX_URL=EXTRA, UV_FIND_LINKS="/more")
    variables = lock_environment(here)
    assert {name for name, value in variables.items() if value is not None} == set()
    assert {"UV_FIND_LINKS", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_TORCH_BACKEND"} <= set(variables)


def test_locks_can_be_compiled_from_a_mirror(tmp_path: Path) -> None:
    """Locks can be compiled from a mirror."""
    assert lock_environment(machine(tmp_path, PIP_INDEX_URL=MIRROR))["UV_DEFAULT_INDEX"] == MIRROR
    both = lock_environment(machine(tmp_path, PIP_INDEX_URL=MIRROR, UV_DEFAULT_INDEX=EXTRA))
    assert both["UV_DEFAULT_INDEX"] == EXTRA


def test_the_defaults_are_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, the machine is the one that the noxfile runs on."""
    monkeypatch.setenv("UV_INDEX", EXTRA)
    assert package_source("llm-cpu", Machine()).reason == "uv's own setting UV_INDEX"


@pytest.mark.parametrize(
    ("script", "found"),
    [("echo 'GPU 0: NVIDIA H100 (UUID: x)'", ["GPU 0: NVIDIA H100 (UUID: x)"]), ("echo 'no driver'; exit 9", [])],
)
def test_gpus_are_named_by_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: list[str]
) -> None:
    """A machine has the GPUs that its driver names, and none if the driver fails."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpus() == found


def test_gpus_are_named_by_their_devices_where_the_driver_brings_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without nvidia-smi, GPUs are named by their devices."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus(tmp_path) == []
    for name in ("nvidia0", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert gpus(tmp_path) == ["nvidia0"]


@pytest.mark.parametrize(("cuda", "build"), [("None", "cpu"), ("'13.0'", "cuda")])
@pytest.mark.parametrize("lib", ["lib/python3.11/site-packages", "Lib/site-packages"])
def test_the_build_of_torch_is_read_from_the_room(tmp_path: Path, cuda: str, build: str, lib: str) -> None:
    """The build of torch is read from the room, without importing it."""
    hold_torch(tmp_path, cuda, lib)
    assert torch_build(tmp_path) == build


def test_an_empty_room_holds_no_build_of_torch(tmp_path: Path) -> None:
    """An empty room has no build of torch, and that is no problem."""
    assert torch_build(tmp_path) is None
    assert torch_trouble("llm-cpu", tmp_path, PackageSource("chance")) is None


@pytest.mark.parametrize(
    ("environment", "cuda", "wanted", "found"),
    [("llm-cpu", "'13.0'", "cpu", "cuda"), ("llm-cuda", "None", "cuda", "cpu")],
)
def test_the_wrong_build_of_torch_is_named_with_its_source_and_the_way_out(
    tmp_path: Path, environment: str, cuda: str, wanted: str, found: str
) -> None:
    """A wrong build of torch is named with its source and the remedy."""
    hold_torch(tmp_path, cuda)
    trouble = torch_trouble(environment, tmp_path, PackageSource("pip's index-url")) or ""
    assert f"The {environment} environment holds torch's {found} build, but needs its {wanted} build" in trouble
    assert "pip's index-url" in trouble
    assert "UV_TORCH_BACKEND" in trouble


def test_the_right_build_of_torch_is_no_trouble(tmp_path: Path) -> None:
    """The right build of torch is accepted."""
    hold_torch(tmp_path, "None")
    assert torch_trouble("llm-cpu", tmp_path, PackageSource("chance")) is None


def test_the_folder_of_coverage_data_is_there(tmp_path: Path) -> None:
    """The folder for coverage data is created."""
    data = data_file(tmp_path / "state" / "coverage", "unit-3.11")
    data.touch()
    assert data.relative_to(tmp_path).as_posix() == "state/coverage/.coverage.unit-3.11"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (None, "left no receipt in "),
        ("{", "left a damaged receipt in "),
        ("[]", "left a damaged receipt in "),
        ("{}", "left a damaged receipt in "),
        ('{"finished": null, "coverage": null}', "left an unfinished receipt: something ended its process"),
        ('{"finished": "2026", "coverage": "data", "gathered": null}', "did not put its coverage data together: "),
    ],
)
def test_session_that_died_with_status_zero_is_named(tmp_path: Path, text: str | None, fact: str) -> None:
    """A session that ended with status 0 but left no finished receipt is named."""
    if text is not None:
        write(tmp_path / "receipts" / "unit.json", text)
    said = unfinished(tmp_path, "unit")
    assert said is not None
    assert said.startswith(f"unit ended with status 0, but {fact}")


def test_only_a_receipt_of_this_run_counts(tmp_path: Path) -> None:
    """A finished receipt of an earlier run does not count."""
    write(tmp_path / "receipts" / "unit.json", '{"finished": "2026-01-01T00:00:00+00:00", "coverage": null}')
    assert unfinished(tmp_path, "unit") is None
    for _ in range(2):
        forget_receipt(tmp_path, "unit")
        assert unfinished(tmp_path, "unit") is not None


def test_receipts_of_other_machines_count(tmp_path: Path) -> None:
    """A merge expects every receipt there is, including those of sessions that this machine cannot run."""
    assert receipts(tmp_path) == set()
    for name in ("unit-3.14.json", "browser.json", "notes.txt"):
        write(tmp_path / "receipts" / name, "{}")
    assert receipts(tmp_path) == {"unit-3.14", "browser"}


def test_typed_options_keep_the_suites_and_a_typed_path_replaces_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed options keep the session's suites, and a typed path replaces them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_one.py").touch()
    assert pytest_arguments(["tests/unit"], ["-k", "word"]) == ["tests/unit", "-k", "word"]
    assert pytest_arguments(["tests/unit"], ["test_one.py::test_a", "-x"]) == ["test_one.py::test_a", "-x"]


def test_a_note_is_of_the_last_run(tmp_path: Path) -> None:
    """A run removes the note of the run before it."""
    for verdict, tried in (("red", "torch 2.8.0"), ("green", "torch 2.8.1")):
        leave_note(tmp_path, "newest", verdict, tried)
    said = (tmp_path / "notes" / "newest.txt").read_text(encoding="utf-8")
    assert re.fullmatch(r"green on \d{4}-\d\d-\d\d with torch 2\.8\.1\n", said)


def test_pip_is_told_what_uv_was_told(tmp_path: Path) -> None:
    """A mirror that only uv knows serves pip too, and pip's own settings stay."""
    told = {"UV_INDEX_URL": MIRROR, "UV_INDEX": EXTRA, "UV_FIND_LINKS": "/wheels,/more", "UV_NO_INDEX": ""}
    assert pip_environment(machine(tmp_path, **told)) == {
        "PIP_INDEX_URL": MIRROR,
        "PIP_EXTRA_INDEX_URL": EXTRA,
        "PIP_FIND_LINKS": "/wheels /more",
    }
    assert pip_environment(machine(tmp_path, PIP_FIND_LINKS="/mine", **told)) == {}


def test_an_unpacked_sdist_has_tests_but_no_package(tmp_path: Path) -> None:
    """What is left of an sdist are its tests, so that they find the installed packages."""
    names = ("backend/llm_backend/__init__.py", "packages/skipproof/src/skipproof/__init__.py", "tests/test_it.py")
    for name in names:
        write(tmp_path / "whole" / name, "")
    with tarfile.open(tmp_path / "sdist.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "whole", "llm_backend-1.0")
    (tmp_path / "far").mkdir()
    project = unpack_without_packages(tmp_path / "sdist.tar.gz", tmp_path / "far")
    files = {path.relative_to(project).as_posix() for path in project.rglob("*.py")}
    assert (project.name, files) == ("llm_backend-1.0", {"tests/test_it.py"})
