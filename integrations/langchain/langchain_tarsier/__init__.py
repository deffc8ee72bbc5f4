"""The LangChain integration of tarsier-tools. Holds no tools yet; its name and version are reserved here."""
