"""Finding when events happen: windows of a video, scored, cut out, refined and calibrated.

``geometry`` plans the windows, ``scorers`` say how much a clip speaks for an event, ``watching`` takes the
windows of a video past the model, ``segments`` makes stretches of time of what was seen, ``calibration``
turns scores into confidences, and ``run`` puts them together.
"""
