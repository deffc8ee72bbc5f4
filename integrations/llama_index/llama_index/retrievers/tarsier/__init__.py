"""The LlamaIndex retrievers of tarsier-tools. Empty yet; the name and version are reserved here."""
