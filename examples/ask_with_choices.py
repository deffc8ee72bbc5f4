"""Ask questions whose answer is one of a few: each answer gets a probability, and nothing can be made up.

    python examples/ask_with_choices.py [VIDEO]

The second and third question pay nothing for the video. Real weights: see describe_video.py.
"""

from film import watched

from tarsier_tools import VideoService

video, event = watched()
with VideoService() as videos:
    color = videos.ask(video, "What color is the shape that moves first?", choices=["red", "green", "yellow"])
    for choice in color.choices:
        print(f"{choice.probability:6.1%}  {choice.text}")

    happens = videos.ask(video, f'Does this happen in the video: "{event}"?', yes_no=True)
    print(f"{event}? {happens.text} ({happens.score:.1%}, raw)")

    free = videos.ask(video, "What happens last?")
    print(free.text)
    print("Tokens that came from the cache:", free.usage.cached_tokens, "of", free.usage.prompt_tokens)
