"""The LlamaIndex readers of tarsier-tools. Empty yet; the name and version are reserved here."""
