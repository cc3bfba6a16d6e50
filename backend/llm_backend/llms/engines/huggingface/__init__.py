"""The engine that runs models in this process, with transformers."""
