"""The main job: YAML in, a real Envoy sidecar, a real connection decided. `make demo` runs this.

With --seed it is the scenarios of docs/seeds.md instead, on a lab of their own.
"""

import argparse
import subprocess
import sys

from report import Outcome, Printer, Recorder, Silent
from seeds import s000, s001, s002, s003, s004
from stage import Stage, StageError
from steps import STEPS, Listed

SEEDS = {"000": s000.STEPS, "001": s001.STEPS, "002": s002.STEPS, "003": s003.STEPS, "004": s004.STEPS}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", choices=[*SEEDS, "all"], help="the scenarios of this seed, not the main job")
    parser.add_argument("--step", type=int, action="append", metavar="N", help="only this one")
    parser.add_argument("--keep", action="store_true", help="leave the lab up: `tidegate lab down` removes it")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, at the end")
    parser.add_argument("--list", action="store_true", help="print the steps and do nothing")
    options = parser.parse_args()
    if options.step and not set(options.step) <= set(range(1, len(listed_for(options.seed)) + 1)):
        parser.error(f"--step is 1 to {len(listed_for(options.seed))}")
    return options


def listed_for(seed: str | None) -> tuple[Listed, ...]:
    """The main job's steps, a seed's, or those of all seeds."""
    if seed == "all":
        return tuple(step for steps in SEEDS.values() for step in steps)
    return SEEDS[seed] if seed else STEPS


def named(number: int, listed: Listed) -> str:
    return f"{number}. {listed.title}" + (f" ({', '.join(listed.claims)})" if listed.claims else "")


def perform(number: int, listed: Listed, stage: Stage, printer: Printer) -> Outcome:
    """One step; whatever goes wrong in it is its outcome."""
    outcome = Outcome(number, listed.title, listed.claims)
    recorder = Recorder(outcome, printer)
    printer.title(outcome)
    stage.tell = recorder.applied
    try:
        listed.run(stage, recorder)
    except (StageError, ValueError, LookupError, OSError, subprocess.SubprocessError) as error:
        # A LookupError's own words are the bare key that a dump or a log did not have.
        outcome.error = f"not found: {error}" if isinstance(error, LookupError) else str(error)
        printer.error(outcome.error)
    return outcome


def main() -> int:
    options = arguments()
    steps = listed_for(options.seed)
    if options.list:
        print("\n".join(named(number, step) for number, step in enumerate(steps, 1)))
        return 0
    where = ("seeds", "seeds") if options.seed else ("", "steps")
    stage = Stage(options.json, *where)
    stage.down()
    try:
        stage.up()
        printer = Silent() if options.json else Printer()
        wanted = options.step or range(1, len(steps) + 1)
        outcomes = [perform(number, steps[number - 1], stage, printer) for number in wanted]
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
