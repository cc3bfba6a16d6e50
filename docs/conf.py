"""How Sphinx builds the documents: ``nox -s docs``, which leaves them in ``docs/_build``."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "llm-backend"
author = "the llm-backend authors"
project_copyright = author
release = version = version_of("llm-backend")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "llm-backend"
# A copied block is a command that can be pasted: without its prompt, and without what it prints.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_use_rtype = False
# Names of ours have to lead somewhere. Those of others would need their indexes, from the network.
nitpicky = True
nitpick_ignore = [("py:class", "llm_backend.llms.payloads.Parsed")]  # a type variable
nitpick_ignore_regex = [("py:.*", r"(?!(llm_backend|skipproof)\.).*")]
