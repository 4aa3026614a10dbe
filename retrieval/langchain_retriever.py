"""`CodeIndex` as a LangChain retriever, for chains and agents built on LangChain."""

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from retrieval.index import CodeIndex


class CodeIndexRetriever(BaseRetriever):
    """Documents are chunks; their metadata says where the lines are, and how to link to them."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: CodeIndex
    k: int = Field(default=8, ge=1)
    repos: list[str] | None = None
    languages: list[str] | None = None
    path_glob: str | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        hits = self.index.search(
            query, self.k, repos=self.repos, languages=self.languages, path_glob=self.path_glob
        )
        return [
            Document(
                page_content=hit.chunk.text,
                metadata={
                    "repo": hit.chunk.repo,
                    "commit": hit.chunk.commit,
                    "path": hit.chunk.path,
                    "start_line": hit.chunk.start_line,
                    "end_line": hit.chunk.end_line,
                    "language": hit.chunk.language,
                    "symbol": hit.chunk.symbol,
                    "score": hit.score,
                    "url": hit.url,
                },
            )
            for hit in hits
        ]
