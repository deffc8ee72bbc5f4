"""The MCP server of tarsier-tools. Holds no tools yet; its name and version are reserved here."""
