"""Which scenarios of the conformance suite our own stack is held to, with the suite's fixtures mounted on it.

Left out, because the server does none of it: asking the client for input (elicitation, sampling, roots,
input_required), protocol logging, subscriptions, and what needs a session of stateless HTTP.
"""

CONTENT = [
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "tools-call-with-progress",
    "json-schema-2020-12",
    "resources-read-text",
    "resources-read-binary",
    "resources-templates-read",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-embedded-resource",
    "prompts-get-with-image",
]

FIXTURES = {
    "2025-11-25": CONTENT,
    "2026-07-28": CONTENT,
    "": [
        "tasks-lifecycle",
        "tasks-capability-negotiation",
        "tasks-wire-fields",
        "tasks-request-state-removal",
        "tasks-request-headers",
        "tasks-dispatch-and-envelope",
        "tasks-required-task-error",
    ],
}
