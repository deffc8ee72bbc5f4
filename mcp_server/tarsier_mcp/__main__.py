"""``python -m tarsier_mcp``."""

from tarsier_mcp.cli import main

if __name__ == "__main__":
    main()
