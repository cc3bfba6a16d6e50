"""The public names of ``llm_backend.llms``: each is written only here, and ``as`` makes it public."""

from llm_backend.llms.agent import Agent as Agent, as_payload as as_payload
from llm_backend.llms.agent_loader import load_agent as load_agent
from llm_backend.llms.agent_validation import (
    validate_agent as validate_agent,
    validate_agent_report as validate_agent_report,
)
from llm_backend.llms.conversations.conversation import Conversation as Conversation
from llm_backend.llms.conversations.store import MemoryStore as MemoryStore, SQLiteStore as SQLiteStore
from llm_backend.llms.engine_registry import Engine as Engine
from llm_backend.llms.engines.langchain import as_chat_model as as_chat_model, wrap_chat_model as wrap_chat_model
from llm_backend.llms.settings.agent_settings import AgentSettings as AgentSettings
from llm_backend.llms.settings.config_file import (
    find_config_file as find_config_file,
    get_agent_config as get_agent_config,
)
from llm_backend.llms.tools.definitions import Tool as Tool
from llm_backend.llms.tools.rounds import run_with_tools as run_with_tools
