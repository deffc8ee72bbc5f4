"""Eyes for agents: describe a video, ask about it, find when something happens."""
