"""``python -m tarsier_tools``."""

from tarsier_tools.cli import main

main()
