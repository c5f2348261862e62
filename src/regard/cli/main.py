"""The `regard` command: one file per subcommand, and one place where errors become a line and an exit status.

    0    fine
    1    the command ran and failed (an answer that points at nothing, not enough memory)
    2    bad input: a missing file, a wrong option, a model folder that cannot be used
    130  interrupted

`--debug`, anywhere on the line, shows the trace instead of the one line. Subcommands import what they need
inside their function, so that `regard --help` starts in a blink and without torch.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from regard import __version__
from regard.cli.agent import agent
from regard.cli.ask import ask
from regard.cli.batch import batch
from regard.cli.bench import bench
from regard.cli.chat import chat
from regard.cli.code import code
from regard.cli.doctor import doctor
from regard.cli.document import document
from regard.cli.eval import eval_command
from regard.cli.locate import locate
from regard.cli.models import models
from regard.cli.parity import parity
from regard.cli.quantize import quantize_command
from regard.cli.serve import serve
from regard.cli.solve import solve
from regard.cli.train import train
from regard.cli.video import video
from regard.errors import RegardError

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(name="regard", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error instead of one line.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Look at images, videos and documents with Qwen3-VL, and get answers with boxes and times."""


app.command()(ask)
app.command()(chat)
app.command()(serve)
app.command()(models)
app.command()(parity)
app.command()(doctor)
app.command()(train)
app.command("eval")(eval_command)
app.command("quantize")(quantize_command)
app.command()(bench)
app.command()(document)
app.command()(batch)
app.command()(locate)
app.command()(agent)
app.command()(solve)
app.command()(code)
app.command()(video)


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status; with `--debug` errors are raised."""
    if "--version" in arguments[:1]:
        print(f"regard {__version__}")
        return 0
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        status = app(arguments, prog_name="regard", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone: no complaint, and none from Python's last flush either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        if debug:
            raise
        return _tell(error)


def _tell(error: Exception) -> int:
    """Print one line about an error on stderr and return the exit status it stands for."""
    if isinstance(error, RegardError):
        message, status = str(error), error.exit_status
    elif hasattr(error, "format_message"):  # a usage error of typer's
        message, status = f"{error.format_message()} (see regard --help)", EXIT_BAD_INPUT
    else:
        message = f"this is a fault of regard's: {type(error).__name__}: {error}; --debug shows the trace"
        status = EXIT_FAILED
    print(f"regard: {' '.join(message.split())}", file=sys.stderr)
    return status
