"""What lies between LangChain's chat models and our agents."""
