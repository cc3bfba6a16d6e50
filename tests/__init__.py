"""The proof: unit tests, real integration tests, and the plugin that checks them."""
