"""Async LLM agents over local Hugging Face models, OpenAI-compatible servers and LangChain.

Importing this package loads no engine and no heavy library.
"""

from llm_backend.errors import BackendError
from llm_backend.llms.payloads import (
    AgentPayload,
    AgentResponse,
    GenerationOptions,
    MemoryEntry,
    ReasoningEffort,
    ToolCall,
    Usage,
)

__all__ = [
    "AgentPayload",
    "AgentResponse",
    "BackendError",
    "GenerationOptions",
    "MemoryEntry",
    "ReasoningEffort",
    "ToolCall",
    "Usage",
]
