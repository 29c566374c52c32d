"""The course's commands.

    python -m matchlib doctor                                 is this machine ready?
    python -m matchlib train --preset small --seed 7 --json   train a preset; the last line is its result
    python -m matchlib train --preset small --save out        keep it as out.safetensors and out.json

Exit status: 0 done; 1 the doctor found a failure; 2 a request that cannot be met, and one sentence says why;
130 interrupted.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path


class Refusal(Exception):
    """A request that cannot be met: the message says what was given and what is allowed."""


class Parser(argparse.ArgumentParser):
    """argparse, with one sentence instead of the usage where the arguments are wrong."""

    def error(self, message: str):
        raise Refusal(f"{message[0].upper()}{message[1:].rstrip('.')}: see '{self.prog} --help'.")


def parser() -> Parser:
    main = Parser(prog="python -m matchlib", description="The commands of the course.", allow_abbrev=False)
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="is this machine ready? one line a check, exit status 1 where one fails")
    train = commands.add_parser("train", help="train a preset from nothing", allow_abbrev=False)
    train.add_argument("--preset", default="small", help="tiny, small (the default) or paper")
    train.add_argument("--seed", type=int, default=0, help="a whole number of at least 0; the same seed, the same run")
    train.add_argument("--steps", type=int, help="instead of the preset's own number of steps")
    train.add_argument("--device", default="auto", help="auto (the default), cpu or cuda")
    train.add_argument("--save", metavar="PATH", help="keep the run as PATH.safetensors and PATH.json")
    train.add_argument("--json", action="store_true", help="print the result as JSON, on the last line")
    return main


def doctor() -> int:
    """Print one line a check; 1 where any fails."""
    from matchlib.doctor import diagnose

    failed = False
    for check in diagnose():
        print(check, flush=True)
        failed |= not check.ok
    return int(failed)


def train(args: argparse.Namespace) -> int:
    """Train a preset, print what it reached, keep it where that was asked for; 130 where it was interrupted."""
    from matchlib.presets import preset
    from matchlib.record import RunError
    from matchlib.train import TrainState, run_to_end

    if args.seed < 0:
        raise Refusal(f"seed={args.seed} is negative: give a whole number of at least 0.")
    try:
        chosen = preset(args.preset)
        config = chosen.train if args.steps is None else replace(chosen.train, steps=args.steps)
        state = TrainState.new(chosen.task, chosen.model, config, args.seed, args.device)
        path = writable(args.save) if args.save is not None else None
    except (ValueError, RunError) as error:
        raise Refusal(str(error)) from None

    interrupted = not run_to_end(state)
    if not interrupted:
        report(state, args.json)
    if path is not None:
        try:
            state.as_run().save(path)
        except RunError as error:
            raise Refusal(str(error)) from None
    if interrupted:
        kept = f"what was learnt is kept in {path}.safetensors" if path else "nothing is kept, for want of --save PATH"
        print(f"Interrupted after {state.step} of {config.steps} steps; {kept}.", file=sys.stderr)
    return 130 if interrupted else 0


def report(state, as_json: bool) -> None:
    """Print what a finished training reached: accuracies and scores in [0, 1], scores a matching layer, wall time."""
    last = state.history[-1]
    result = {
        "test_accuracy": last.test,
        "matching_score": list(last.matching),
        "argmax_score": list(last.argmax),
        "ood_accuracy": last.ood,
        "steps": state.step,
        "seconds": round(state.seconds, 2),
    }
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        numbers = value if isinstance(value, list) else [value]
        print(f"{name.replace('_', ' ')}:", ", ".join(f"{number:.4g}" for number in numbers))


def writable(given: str) -> Path:
    """The path to save at, tried before training. Raises ValueError or RunError where a run cannot be kept there."""
    from matchlib.record import write_whole

    path = Path(given)
    if path.name in ("", ".."):
        raise ValueError(f"save={given!r} names no file: give a path such as 'out' or 'runs/mine'.")
    for suffix in (".safetensors", ".json"):
        if os.path.isdir(f"{path}{suffix}"):
            raise ValueError(f"save={given!r} is taken: {path}{suffix} is a folder, so choose another name.")
    probe = path.with_name(f".{path.name}.try")
    write_whole(probe, b"")
    probe.unlink()
    return path


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        args = parser().parse_args(argv)
        return doctor() if args.command == "doctor" else train(args)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, `head` for one, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
