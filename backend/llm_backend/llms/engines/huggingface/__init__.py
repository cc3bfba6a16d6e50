"""What runs models in this process, with transformers."""
