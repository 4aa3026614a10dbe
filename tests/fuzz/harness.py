"""What the fuzzing programs share: how they run, and what they say when they find something.

libFuzzer, through atheris, makes up inputs that reach new code. Each program checks one promise
about any bytes; an input that breaks it is kept and, once mended, goes into `tests/fuzz/corpus`,
where `make test` tries it ever after, without atheris.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")  # what is learnt and found; not kept in git
MAX_INPUT_BYTES = 20_000
SLOW_S = 10  # for one input; then it counts as a hang
MAX_MEMORY_MB = 2_000


def seeds(name: str) -> list[Path]:
    """List the inputs that a program begins with, and that once broke it."""
    return sorted(file for file in (CORPUS / name).iterdir() if file.is_file())


def main(name: str, check: Callable[[bytes], None]) -> None:
    """Run a fuzzing program: for ever, for `-max_total_time=60`, or on the files it is given.

    :param name: of its module and of its folder in the corpus.
    :param check: raises where an input breaks what is promised.
    """
    import atheris

    learnt = FOUND / name
    learnt.mkdir(parents=True, exist_ok=True)

    def run(data: bytes) -> None:
        try:
            check(data)
        except BaseException:
            again = f"{sys.executable} -m tests.fuzz.fuzz_{name} {learnt}-crash-…"
            print(f"The input is kept (see below). To try it again: {again}", file=sys.stderr)
            raise

    given = [argument for argument in sys.argv[1:] if Path(argument).is_file()]
    options = [
        f"-artifact_prefix={learnt}-",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={SLOW_S}",
        f"-rss_limit_mb={MAX_MEMORY_MB}",
        "-print_final_stats=1",
        *sys.argv[1:],
    ]
    folders = [] if given else [str(learnt), str(CORPUS / name)]
    for function in _functions_of("data_tools", "retrieval"):
        atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *options, *folders], run)
    atheris.Fuzz()


def _functions_of(*packages: str) -> Iterator[FunctionType]:
    """Yield the functions and methods of packages, as far as these are imported."""
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and (each.__module__ or "").split(".")[0] in packages:
            yield each
