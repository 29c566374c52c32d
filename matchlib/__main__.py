"""The course's commands.

    python -m matchlib doctor                                 is this machine ready?
    python -m matchlib train --preset small --seed 7 --json   train a preset; the last line is its result
    python -m matchlib train --preset small --save out        keep it as out.safetensors and out.json
    python -m matchlib sweep seeds --resume                   run a named grid, or what is left of it
    python -m matchlib reproduce --claim C2                   the scorecard; --fast trains a part of it again
    python -m matchlib bench small                            how fast is it, and against what? ratios side by side
    python -m matchlib exercises --check                      is exercises/ what solutions/ makes? without it: make it

Exit status: 0 done; 1 a check failed; 2 a request that cannot be met, and one sentence says why; 130 interrupted.
"""

import argparse
import json
import os
import shlex
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
    sweep = commands.add_parser("sweep", help="run a named grid, and keep a record of every run", allow_abbrev=False)
    sweep.add_argument("name", nargs="?", metavar="NAME", help="a named grid: --list shows them")
    sweep.add_argument("--list", action="store_true", help="the named grids, one a line")
    sweep.add_argument("--folder", default="sweeps", help="where NAME.jsonl lies or is to lie (default: sweeps)")
    sweep.add_argument("--resume", action="store_true", help="go on with a file that holds runs of the grid already")
    sweep.add_argument("--retry-failed", action="store_true", help="as --resume, and run again those that failed")
    sweep.add_argument("--dry-run", action="store_true", help="how many runs there are, are done and are left")
    sweep.add_argument("--engine", default="auto", help="auto (the default), processes or ensemble")
    sweep.add_argument(
        "--workers", type=int, help="runs at a time (default: one a core, 64 on a GPU; with --dask, all)"
    )
    sweep.add_argument("--pack", action="store_true", help="when all runs are done keep them as NAME.jsonl.gz, smaller")
    sweep.add_argument("--dask", metavar="ADDRESS", help="train on a Dask cluster, e.g. tcp://127.0.0.1:8786")
    sweep.add_argument("--json", action="store_true", help="print what there is at the end as JSON, on the last line")
    again = commands.add_parser("reproduce", help="the paper's claims, our numbers and verdicts", allow_abbrev=False)
    again.add_argument("--claim", metavar="ID", help="one claim, such as C2 (default: all)")
    again.add_argument("--fast", action="store_true", help="train a small part of each claim again: minutes")
    again.add_argument("--json", action="store_true", help="print the scorecard as JSON, on the last line")
    bench = commands.add_parser("bench", help="ratios against straightforward code and peers", allow_abbrev=False)
    bench.add_argument("cases", nargs="*", metavar="CASE", help="some of --list (default: all, about 15 minutes)")
    bench.add_argument("--list", action="store_true", help="the cases, one a line")
    bench.add_argument("--json", metavar="PATH", help="keep the record as PATH, beside what PATH keeps of other cases")
    made = commands.add_parser("exercises", help="make exercises/ from solutions/", allow_abbrev=False)
    made.add_argument("--check", action="store_true", help="change nothing; exit status 1 where they differ")
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

    where = state.device.type
    why = "as asked" if args.device != "auto" else f"for {'a' if where == 'cuda' else 'no'} CUDA device is free"
    print(f"Training {args.preset} alone on {where}, {why}; 'sweep' trains many.", file=sys.stderr)
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


def sweep(args: argparse.Namespace, typed: list[str]) -> int:
    """Run what a named grid lacks and say what there is; 130 where it was interrupted, and how to go on."""
    from matchlib.archive import pack
    from matchlib.grids import GRIDS, named_grid
    from matchlib.record import RunError
    from matchlib.sweep import choose_engine, cores, outlook, plan, run_grid

    if args.list:
        for grid in GRIDS.values():
            print(f"{grid.name}: {grid.about} ({len(grid.specs())} runs)")
        return 0
    if args.name is None:
        raise Refusal(f"Which grid is to run: give one of {', '.join(GRIDS)}.")
    try:
        grid = named_grid(args.name)
        if args.dry_run:
            print(outlook(plan(grid, args.folder, args.retry_failed), args.workers or cores()))
            return 0
        engine, why = choose_engine(args.engine, args.workers, args.dask)
        print(why, file=sys.stderr)
        run_grid(grid, args.folder, engine, resume=args.resume, retry_failed=args.retry_failed)
        now = plan(grid, args.folder)
        if args.pack and not now.todo:
            pack(now.ledger.path)
    except (ValueError, RunError) as error:
        raise Refusal(str(error)) from None
    except KeyboardInterrupt:
        now = plan(grid, args.folder)
        again = shlex.join([*typed, *([] if args.resume or args.retry_failed else ["--resume"])])
        kept = f"{now.done + now.failed} of {now.total} runs are kept in {now.ledger.path}"
        print(f"\nInterrupted: {kept}. To go on: python -m matchlib {again}", file=sys.stderr)
        return 130
    if args.json:
        counts = {"runs": now.total, "done": now.done, "failed": now.failed}
        print(json.dumps({"grid": grid.name, **counts, "file": str(now.ledger.path)}))
    else:
        print(outlook(now, args.workers or cores()))
    return 0


def reproduce(args: argparse.Namespace) -> int:
    """Print the scorecard, and with --fast whether a part of it comes out again: 1 where not, 130 at Ctrl-C."""
    from matchlib import again, claims
    from matchlib.record import RunError
    from matchlib.runs import SHIPPED

    found, whole = {}, True
    try:
        chosen = claims.scorecard(SHIPPED, args.claim)
        if not args.json:
            print(claims.text(chosen), flush=True)
        asked = again.parts(SHIPPED, args.claim) if args.fast else []
        specs = again.specs(asked)
        try:
            for record in again.trained(specs) if specs else ():
                found[record.key] = record
        except KeyboardInterrupt:
            whole = False
        answers = [answer for part in asked if (answer := again.answer(part, found))]
    except (ValueError, RunError) as error:
        raise Refusal(str(error)) from None
    if args.json and whole:
        kept = {"claims": claims.as_json(chosen)} | ({"fast": [vars(a) for a in answers]} if args.fast else {})
        print(json.dumps(kept, allow_nan=False))
    elif args.fast:
        if answers or not asked:
            print("Trained again from nothing:" if asked else "No claim that was asked for has a part to train.")
        for answer in answers:
            agrees = "agrees" if answer.agrees else "does not agree"
            print(f"  {answer.claim} {agrees} with the records: {answer.said}.")
    if not whole:
        ended = f"{len(found)} of {len(specs)} runs were trained, {len(answers)} of {len(asked)} claims can be told"
        print(f"Interrupted: {ended}; nothing is kept.", file=sys.stderr)
        return 130
    return 0 if all(answer.agrees for answer in answers) else 1


def bench(args: argparse.Namespace) -> int:
    """Print the table of some cases, or of all, as it comes; keep the record where that was asked for."""
    from matchlib.bench import CASES, chosen, markdown, merged
    from matchlib.record import RunError, write_whole

    if args.list:
        for name, case in CASES.items():
            print(f"{name}: {case.__doc__}")
        return 0
    try:
        kept = json.loads(Path(args.json).read_text()) if args.json and Path(args.json).exists() else {}
        asked = chosen(args.cases)
        if args.json:  # a place that cannot be written is told now, and not after the measuring
            write_whole(Path(args.json), (json.dumps(kept, indent=1) + "\n").encode())
        print(markdown([]), flush=True)
        for case in asked:
            rows = []
            for row in CASES[case]():
                print(markdown([row]).splitlines()[-1], flush=True)
                rows.append(row)
            kept = merged(kept, case, rows)
            if args.json:
                write_whole(Path(args.json), (json.dumps(kept, indent=1) + "\n").encode())
    except (ValueError, OSError, RunError) as error:
        raise Refusal(str(error)) from None
    return 0


def exercises(args: argparse.Namespace) -> int:
    """Make the exercises, or with --check name those that differ from what their solutions make."""
    from matchlib import exercises, record

    try:
        return exercises.make(args.check)
    except (ValueError, record.RunError) as error:
        raise Refusal(str(error)) from None


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
        if args.command == "doctor":
            return doctor()
        if args.command == "sweep":
            return sweep(args, sys.argv[1:] if argv is None else argv)
        return {"train": train, "reproduce": reproduce, "bench": bench, "exercises": exercises}[args.command](args)
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
