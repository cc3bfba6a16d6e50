"""Offers the engine "echo"; imported whenever somebody asks for it, so it imports nothing slow."""

from llm_backend.llms import Engine

__all__ = ["ENGINE"]

ENGINE = Engine(agent="echo_engine.agent:EchoAgent")
