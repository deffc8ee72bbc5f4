"""Watch videos with a model on a server: vLLM, SGLang or anything that speaks OpenAI's protocol.

    export TARSIER_BASE_URL=http://gpu-box:8000/v1 TARSIER_MODEL=tarsier2 TARSIER_API_KEY=...
    python examples/remote_backend.py [VIDEO]

Frames are chosen, shrunk and sent from here, so the server sees what the model was trained on; see
docs/serving.md for how to start one. Without TARSIER_BASE_URL the bundled model answers.
"""

from film import watched

from tarsier_tools import BackendError, VideoService

video, _ = watched()
with VideoService() as videos:
    backend, why = videos.backend_choice
    print(f"backend: {backend} ({why})")
    try:
        for question in (
            "What happens first?",
            "What happens last?",
        ):  # the second pays nothing for the video
            answer = videos.ask(video, question)
            print(f"{question} {answer.text}", f"({answer.timings.model_s:.2f} s)")
    except BackendError as error:
        print(error)  # says what to do, for example which flag the server needs
        raise SystemExit(1) from None
