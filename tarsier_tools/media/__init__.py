"""Videos: where they may come from, which frames are taken, and how these are decoded and resized."""
