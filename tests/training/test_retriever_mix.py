"""A mixture lies between its models, and the best one on the validation questions is kept."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from retrieval.embed import SentenceTransformerEmbedder
from retrieval.questions import Question
from tests.fakes import FakeEncoder, MakeChunk
from tests.training.tiny_encoder import make_tiny_encoder
from training.retriever_mix import POOL_CHUNKS, choose_mixture, make_pool, mix_models, score


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[SentenceTransformerEmbedder, Path]:
    """A model, and the same with every weight 1 higher."""
    folder = tmp_path_factory.mktemp("models")
    base, tuned = (make_tiny_encoder(folder / name) for name in ("base", "tuned"))
    weights = {name: weight + 1 for name, weight in load_file(tuned / "model.safetensors").items()}
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    return SentenceTransformerEmbedder("base", base), tuned


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_a_mixture_is_weighted_weight_by_weight(
    models: tuple[SentenceTransformerEmbedder, Path], tmp_path: Path, alpha: float
) -> None:
    mix_models(*models, alpha, tmp_path / "mixed")
    base, mixed = (
        load_file(folder / "model.safetensors") for folder in (models[0].folder, tmp_path / "mixed")
    )
    assert set(base) == set(mixed)
    for name, weight in base.items():
        assert (mixed[name] - weight - alpha).abs().max() < 1e-6, name


def test_of_equally_good_mixtures_the_one_nearer_to_the_base_is_kept(
    models: tuple[SentenceTransformerEmbedder, Path], tmp_path: Path, make_chunk: MakeChunk
) -> None:
    only = make_chunk(path="a.py")
    pool = make_pool([Question("1", "casa", ("a.py",))], [only])
    mixture = choose_mixture(*models, [pool], (1.0, 0.5), tmp_path / "mixed", lambda _: None)
    assert (mixture.alpha, dict(mixture.scores)) == (0.5, {0.0: 1.0, 0.5: 1.0, 1.0: 1.0})
    mix_models(*models, 0.5, tmp_path / "half")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("mixed", "half")]
    assert weights[0] == weights[1]


def test_the_score_is_the_ndcg_by_file(make_chunk: MakeChunk) -> None:
    chunks = [make_chunk("token bucket\n", path="a.py"), make_chunk("retry after\n", path="b.py")]
    first = Question("1", "token bucket", ("a.py",))
    second = Question("2", "token bucket", ("b.py",))
    encoder = FakeEncoder()
    assert score(encoder, [make_pool([first], chunks)]) == 1.0
    assert score(encoder, [make_pool([second], chunks)]) == pytest.approx(0.6309, abs=1e-4)
    assert score(encoder, [make_pool([first, second], chunks)]) == pytest.approx(0.8155, abs=1e-4)


def test_a_pool_holds_what_answers_and_the_same_others_in_any_order(make_chunk: MakeChunk) -> None:
    chunks = [
        make_chunk(f"x = {number}\n", path=f"{number}.py") for number in range(POOL_CHUNKS + 9)
    ]
    question = Question("1", "x", ("7.py",))
    pool = make_pool([question], chunks)
    assert len(pool.chunks) == POOL_CHUNKS + 1
    assert chunks[7] in pool.chunks
    assert make_pool([question], chunks[::-1]) == pool
