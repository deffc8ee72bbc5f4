"""Fits the calibration of the bundled model, on films of the shapes world that are in no other set.

    python training/calibrate.py             writes calibration.json beside the weights; about two minutes

To be run again whenever the weights or the prompts change: a file for other weights is not used.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tarsier_tools import Settings
from tarsier_tools.backends import TINY_FOLDER
from tarsier_tools.calibrating import Example, calibrate
from tarsier_tools.locating.calibration import NAME
from tarsier_tools.selfcheck.labelled import labelled_films
from tarsier_tools.workbench import Workbench


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, default=TINY_FOLDER, help="the checkpoint's folder")
    options = parser.parse_args()
    settings = Settings(backend="local", model=str(options.model), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        examples = [
            Example(video=str(film.path), event=event, segments=segments, language=film.language)
            for film in labelled_films(Path(folder), options.seed, options.films)
            for event, segments in film.events
        ]
        bench = Workbench(settings)
        try:
            calibration = calibrate(
                bench,
                examples,
                fitted_on=f"{options.films} films of the shapes world, 4 to 60 s long",
                methods=("yes_no", "likelihood"),
                on_progress=lambda *told: print(told[-1], file=sys.stderr, end="\r"),
            )
        finally:
            bench.close()
    calibration.save(options.model / NAME)
    for fit in calibration.fits:
        print(fit.model_dump_json())


if __name__ == "__main__":
    main()
