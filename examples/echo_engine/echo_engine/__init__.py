"""Offers the engine "echo"; imported where somebody asks for it, so it imports nothing that takes long."""

from llm_backend.llms import Engine

__all__ = ["ENGINE"]

ENGINE = Engine(agent="echo_engine.agent:EchoAgent")
