"""`codeqa run`: a job file run here, shown, or rendered for SkyPilot."""

import argparse
import sys
from pathlib import Path

from app.progress import ProgressBar


def run_job(options: argparse.Namespace) -> None:
    """Run the job; its exit code becomes that of `codeqa run`.

    :raises SystemExit: the job did not end well.
    """
    from training.job_schema import load_job
    from training.jobs import check_training, run_job
    from training.skypilot import render_skypilot

    file = Path(options.file)
    job = load_job(file, options.set)
    check_training(job, str(file))
    if options.to == "skypilot":
        sys.stdout.write(render_skypilot(job))
    elif options.dry_run:
        sys.stdout.write(job.to_yaml())
    else:
        with ProgressBar() as bar:
            done = run_job(job, Path(options.folder), install=options.integrations, report=bar)
            tries = f" after {done.tries} tries" if done.tries > 1 else ""
            ended = f"ended with exit code {done.exit_code}" if done.exit_code else "is done"
            bar.say(f"{done.name} {ended}{tries}, {done.seconds:,.0f} s")
        if done.exit_code:
            raise SystemExit(done.exit_code)
