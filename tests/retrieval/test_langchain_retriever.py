"""`CodeIndex` where LangChain expects a retriever."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from data_tools.errors import QuestionError
from retrieval import CodeIndex
from retrieval.langchain_retriever import CodeIndexRetriever
from tests.fakes import FakeEncoder


@pytest.fixture
def index(tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder) -> Iterator[CodeIndex]:
    with CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder) as built:
        yield built


def test_documents_are_the_hits_with_where_they_stand(index: CodeIndex) -> None:
    retriever = index.as_retriever(k=3)
    assert isinstance(retriever, BaseRetriever)
    documents = retriever.invoke("token bucket")
    hits = index.search("token bucket", k=3)
    assert [document.page_content for document in documents] == [hit.chunk.text for hit in hits]
    best = hits[0]
    assert documents[0].metadata == {
        "repo": "limits",
        "commit": best.chunk.commit,
        "path": best.chunk.path,
        "start_line": best.chunk.start_line,
        "end_line": best.chunk.end_line,
        "language": best.chunk.language,
        "symbol": best.chunk.symbol,
        "score": best.score,
        "url": best.url,
    }


def test_filters_are_passed_on(index: CodeIndex) -> None:
    retriever = CodeIndexRetriever(
        index=index, k=50, repos=["limits"], languages=["python"], path_glob="tests/"
    )
    paths = {document.metadata["path"] for document in retriever.invoke("bucket")}
    assert paths == {"tests/test_bucket.py"}


def test_it_is_one_link_of_a_chain(index: CodeIndex) -> None:
    def first_path(documents: list[Document]) -> str:
        return str(documents[0].metadata["path"])

    chain = index.as_retriever(k=1) | RunnableLambda(first_path)
    assert chain.batch(["TokenBucket", "fetchWithRetry"]) == ["limits/bucket.py", "web/client.ts"]


def test_wrong_settings_and_questions_are_refused(index: CodeIndex) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        index.as_retriever(k=0)
    with pytest.raises(QuestionError):
        index.as_retriever().invoke(" ")
