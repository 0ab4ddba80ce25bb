"""The main job: YAML in, a real Envoy sidecar, a real connection decided. `make demo` runs this."""

import argparse
import subprocess
import sys

from report import Outcome, Printer, Recorder, Silent
from stage import Stage, StageError
from steps import STEPS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, action="append", choices=range(1, len(STEPS) + 1), help="only this one")
    parser.add_argument("--keep", action="store_true", help="leave the lab up: `tidegate lab down` removes it")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, at the end")
    parser.add_argument("--list", action="store_true", help="print the steps and do nothing")
    return parser.parse_args()


def perform(number: int, stage: Stage, printer: Printer) -> Outcome:
    """One step; whatever goes wrong in it is its outcome."""
    listed = STEPS[number - 1]
    outcome = Outcome(number, listed.title)
    recorder = Recorder(outcome, printer)
    printer.title(outcome)
    stage.tell = recorder.applied
    try:
        listed.run(stage, recorder)
    except (StageError, ValueError, OSError, subprocess.SubprocessError) as error:
        outcome.error = str(error)
        printer.error(str(error))
    return outcome


def main() -> int:
    options = arguments()
    if options.list:
        print("\n".join(f"{number}. {step.title}" for number, step in enumerate(STEPS, 1)))
        return 0
    stage = Stage(quiet=options.json)
    stage.down()
    try:
        stage.up()
        printer = Silent() if options.json else Printer()
        wanted = options.step or range(1, len(STEPS) + 1)
        outcomes = [perform(number, stage, printer) for number in wanted]
        printer.summary(outcomes)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        if not options.keep:
            stage.down()
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
