"""The shapes world: procedural films with exact ground truth, and what can be said and asked about them."""
