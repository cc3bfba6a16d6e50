"""Importing the package is light."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import llm_backend.llms

HEAVY = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "gguf",
    "numpy",
    "openai",
    "httpx",
    "httpx2",
    "langchain",
    "langchain_core",
    "langchain_openai",
    "llguidance",
    "pynvml",
)

BLOCKER = """
import sys

class Blocker:
    def __init__(self, names):
        self.names = names
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            sys.exit(f"loaded {name}")

sys.meta_path.insert(0, Blocker(sys.argv[1].split(",")))
"""


def _run(code: str, *blocked: str) -> tuple[int, str]:
    """Run ``code`` in a new interpreter that ends as soon as a blocked module is looked for."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER + code, ",".join(blocked)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_blocker_sees_an_import() -> None:
    """The detector that the tests below rely on sees an import."""
    assert _run("import wave", *HEAVY, "wave") == (1, "loaded wave\n")


def test_import_backend_is_light() -> None:
    """``import llm_backend`` loads no heavy library."""
    assert _run("import llm_backend.llms", *HEAVY, "pydantic", "jsonschema", "psutil", "filelock", "platformdirs") == (
        0,
        "",
    )


def test_importing_the_loader_is_light() -> None:
    """Importing ``load_agent`` loads no engine's library."""
    code = "from llm_backend.llms import *; load_agent; as_chat_model; import llm_backend.llms.models.memory"
    assert _run(code, *HEAVY) == (0, "")


def test_unknown_name_is_an_attribute_error() -> None:
    """An unknown name is an AttributeError that names it."""
    with pytest.raises(AttributeError, match=r"module 'llm_backend\.llms' has no attribute 'load_agnt'"):
        _ = llm_backend.llms.load_agnt  # type: ignore[attr-defined]


def test_the_public_names_are_listed() -> None:
    """``dir`` lists the public names, so an interactive prompt completes them."""
    assert set(llm_backend.llms.__all__) <= set(dir(llm_backend.llms))  # type: ignore[attr-defined]
