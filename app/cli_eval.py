"""The grammar of `codeqa eval`: what is measured, and what question sets are made of."""

from app.cli_options import (
    REPO_HELP,
    Commands,
    add_command,
    add_index_option,
    add_private_option,
    count,
    picture,
    positive,
    seconds,
    share,
)

PAIR_KINDS = ("docstring", "rewrite", "heading", "commit", "test")
SEARCH_MODES = ("hybrid", "lexical", "dense")
STRATEGIES = ("direct", "sub-questions", "related")
PRESETS = ("simple", "complex")


def add_eval(commands: Commands) -> None:
    """Add `eval` and what can be measured."""
    summary = "Measure how well an index finds, or a model answers; or make a question set."
    parser = commands.add_parser(
        "eval",
        help=summary,
        description=summary,
        epilog="example: codeqa eval retrieval --questions questions.jsonl --index index/",
    )
    subparsers = parser.add_subparsers(
        dest="evaluation", metavar="WHAT", required=True, help="what to do"
    )
    _add_eval_retrieval(subparsers)
    _add_eval_answers(subparsers)
    _add_eval_model(subparsers)
    _add_eval_votes(subparsers)
    _add_eval_make_questions(subparsers)


def _add_eval_retrieval(subparsers: Commands) -> None:
    parser = add_command(
        subparsers,
        "retrieval",
        "Measure what a search finds: recall, nDCG, hits by lines, answers in context, latency.",
        "codeqa eval retrieval --questions questions.jsonl --index index/ --against lexical",
        module="app.evaluation",
        function="run_eval_retrieval",
    )
    parser.add_argument(
        "--questions", required=True, metavar="FILE", help="question set; see docs/questions.md"
    )
    add_index_option(parser)
    parser.add_argument(
        "--mode",
        choices=SEARCH_MODES,
        default=SEARCH_MODES[0],
        help="rank by words and meaning, words alone, or meaning alone (default: %(default)s)",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="MODE|DIR",
        help="measure this beside it, with 95 %% intervals of the differences: another mode, or "
        "another index folder; may be given several times",
    )
    parser.add_argument(
        "--max-answer-files",
        type=positive,
        metavar="N",
        help="leave out questions whose answer stands in more than N files, or in none",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="count gold that the index does not hold as not found, instead of refusing it",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--plot", type=picture, metavar="FILE", help="draw recall against k: .png or .svg"
    )
    parser.add_argument(
        "--per-question", metavar="FILE", help="write each question's values and hits as JSONL"
    )


def _add_eval_answers(subparsers: Commands) -> None:
    parser = add_command(
        subparsers,
        "answers",
        "Measure what the whole app answers: evidence, answers, citations, refusals, time, tokens.",
        "codeqa eval answers --questions questions.jsonl --index index/ --llm http://localhost:8000/v1",
        module="app.answer_evaluation",
        function="run_eval_answers",
    )
    parser.add_argument(
        "--questions", required=True, metavar="FILE", help="question set; see docs/questions.md"
    )
    add_index_option(parser)
    parser.add_argument(
        "--llm",
        action="append",
        metavar="SPEC",
        help="a language model, as `codeqa ask` takes it, or `none` for quotations, the default; "
        "given several times, the others are compared with the first, by 95 %% intervals",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="which of a server's models to measure (default: all of them); may be given several "
        "times",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=120.0,
        help="longest wait for a server's next words (default: %(default)s)",
    )
    parser.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default=STRATEGIES[0],
        help="how questions are answered: at once, by their parts, or with related ones "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=PRESETS[0],
        help="what answers of the set are: a name (exact and close matches count) or a few "
        "sentences (words in common count) (default: %(default)s)",
    )
    parser.add_argument("-k", type=positive, default=8, help="passages (default: %(default)s)")
    parser.add_argument(
        "--judge",
        metavar="URL",
        help="an OpenAI-compatible server whose model compares answers with the references and "
        "models with the first, each pair in both orders",
    )
    parser.add_argument("--judge-model", metavar="NAME", help="which of that server's models")
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="at most N questions, the same ones each time"
    )
    parser.add_argument(
        "--max-answer-files",
        type=positive,
        metavar="N",
        help="leave out questions whose answer stands in more than N files, or in none",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="count gold that the index does not hold as not found, instead of refusing it",
    )
    parser.add_argument(
        "--at-once",
        type=positive,
        default=1,
        metavar="N",
        help="questions asked at once; more are faster, but each waits longer for its first words "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget what a stopped evaluation was answered"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", metavar="FILE.json", help="write that object to a file")
    parser.add_argument(
        "--per-question", metavar="FILE", help="write each answer and what it took as JSONL"
    )


def _add_eval_model(subparsers: Commands) -> None:
    parser = add_command(
        subparsers,
        "model",
        "Measure a language model beside its base: bits per byte, answers, citations, refusals.",
        "codeqa eval model tuned/ --base Qwen/Qwen3-4B --pairs raft/ --index index/",
        module="app.model_evaluation",
        function="run_eval_model",
    )
    parser.add_argument(
        "tuned",
        nargs="?",
        metavar="MODEL",
        help="Hugging Face folder or name, an adapter's folder, or models:/NAME@ALIAS",
    )
    parser.add_argument(
        "--base",
        "--against",
        metavar="MODEL",
        help="what it is compared with, with 95 %% intervals of the differences; with --url "
        "another model of that server",
    )
    parser.add_argument(
        "--adapter", metavar="DIR", help="measure MODEL with this adapter, against MODEL without"
    )
    parser.add_argument(
        "--url", metavar="URL", help="instead of MODEL: an OpenAI-compatible server such as vLLM"
    )
    parser.add_argument("--model", metavar="NAME", help="which of the server's models")
    parser.add_argument(
        "--pairs", metavar="DATASET", help="held-out pairs: a folder of `codeqa qa-pairs`, or NAME"
    )
    parser.add_argument(
        "--corpus", metavar="DIR", help="flattened texts that --dataset was made from"
    )
    parser.add_argument(
        "--dataset",
        metavar="DATASET",
        help="says which files were held out: a folder of `codeqa convert`, or NAME",
    )
    parser.add_argument(
        "--replay", metavar="FILE|DIR", help="text that is no code of the repository"
    )
    parser.add_argument(
        "--questions",
        action="append",
        metavar="FILE",
        help="question set that says the answers (docs/questions.md); may be given several times",
    )
    parser.add_argument(
        "--index", metavar="DIR", help="index that passages are taken from; default none"
    )
    parser.add_argument(
        "--split",
        choices=("validation", "test"),
        default="test",
        help="which part of pairs and files was held out (default: %(default)s)",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="at most N files, pairs and questions each"
    )
    parser.add_argument(
        "--max-tokens",
        type=positive,
        default=128,
        metavar="N",
        help="longest answer (default: %(default)s)",
    )
    parser.add_argument(
        "--lm-eval",
        metavar="TASKS",
        help="public benchmarks too, such as arc_easy,piqa; needs lm_eval",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget what was answered in evaluations before"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", metavar="FILE.json", help="write that object to a file")
    parser.add_argument(
        "--plot",
        type=picture,
        metavar="FILE",
        help="draw what context is worth to each model: .png or .svg",
    )


def _add_eval_votes(subparsers: Commands) -> None:
    parser = add_command(
        subparsers,
        "votes",
        "Sum up which model's answers people preferred on the page, and export pairs for training.",
        "codeqa eval votes --export preferences.jsonl",
        module="app.votes",
        function="run_eval_votes",
    )
    parser.add_argument(
        "--history", metavar="FILE", help="conversations (default: where `codeqa chat` keeps them)"
    )
    parser.add_argument(
        "--export",
        metavar="FILE.jsonl",
        help="write each preference as messages, a chosen and a rejected answer, as TRL's DPO "
        "takes them",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_eval_make_questions(subparsers: Commands) -> None:
    parser = add_command(
        subparsers,
        "make-questions",
        "Make a question set from a repository's docstrings, headings, commits and tests.",
        "codeqa eval make-questions . --out questions.jsonl --corpus corpus/",
        module="app.make_questions",
        function="run_eval_make_questions",
    )
    parser.add_argument("repo", metavar="REPO", help=REPO_HELP)
    add_private_option(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="question set to write")
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="DIR",
        help="folder to write the repository into, the lines that give questions away left blank: "
        "index this one to measure",
    )
    parser.add_argument(
        "--limit", type=positive, default=300, metavar="N", help="questions (default: %(default)s)"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=PAIR_KINDS,
        default=PAIR_KINDS,
        metavar="KIND",
        help=f"what questions are made from: {', '.join(PAIR_KINDS)} (default: all)",
    )
    parser.add_argument(
        "--commits",
        type=count,
        default=500,
        metavar="N",
        help="commits looked at, newest first (default: %(default)s)",
    )
    parser.add_argument(
        "--unanswerable",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="share of questions about things that are not there (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="of the choice (default: %(default)s)"
    )
