"""Async LLM agents over local Hugging Face models, OpenAI-compatible servers and LangChain.

Importing this package loads no engine and no heavy library. Its public names are those imported with ``as``.
"""

from llm_backend.errors import BackendError as BackendError
from llm_backend.llms.payloads import (
    AgentPayload as AgentPayload,
    AgentResponse as AgentResponse,
    End as End,
    Event as Event,
    GenerationOptions as GenerationOptions,
    MemoryEntry as MemoryEntry,
    Reasoning as Reasoning,
    ReasoningEffort as ReasoningEffort,
    Text as Text,
    Timings as Timings,
    ToolCall as ToolCall,
    ToolCallEvent as ToolCallEvent,
    Usage as Usage,
    UsageEvent as UsageEvent,
)
