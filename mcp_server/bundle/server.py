"""Starts the MCP server; the host gives the arguments."""

from tarsier_mcp.cli import main

if __name__ == "__main__":
    main()
