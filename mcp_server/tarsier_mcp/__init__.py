"""The MCP server of tarsier-tools: eyes for Claude and every MCP client.

``tarsier-mcp`` on the command line starts it; :class:`tarsier_mcp.server.TarsierServer` is the same for a
program. Importing this package alone loads nothing.
"""
