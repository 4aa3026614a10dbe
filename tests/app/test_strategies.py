"""What an answer costs is said before it runs, and is what it costs."""

from app.strategies import describe_cost


def test_a_direct_answer_is_one_search_and_one_call() -> None:
    cost = describe_cost("direct", has_model=True, follow_up=False)
    assert (cost.searches, cost.calls, cost.at_most) == (1, 1, False)
    assert cost.text == "1 search, 1 call of the model, about 4,000 tokens read"


def test_without_a_model_nothing_is_read() -> None:
    cost = describe_cost("direct", has_model=False, follow_up=True)
    assert cost.text == "1 search, no model"


def test_a_follow_up_takes_a_call_more_to_be_made_to_stand_alone() -> None:
    first = describe_cost("direct", has_model=True, follow_up=False)
    later = describe_cost("direct", has_model=True, follow_up=True)
    assert later.calls == 2
    assert later.prompt_tokens > first.prompt_tokens


def test_what_depends_on_the_question_is_given_as_the_most() -> None:
    parts = describe_cost("sub-questions", has_model=True, follow_up=False)
    assert parts.text.startswith("up to 4 searches, up to 6 calls of the model, up to ")
    related = describe_cost("related", has_model=True, follow_up=False)
    assert related.text.startswith("up to 10 searches, up to 2 calls of the model, up to ")
    assert describe_cost("related", has_model=False, follow_up=False).text == (
        "up to 10 searches, no model"
    )


def test_models_side_by_side_share_the_search_and_each_read_the_prompt() -> None:
    one = describe_cost("direct", has_model=True, follow_up=False)
    two = describe_cost("direct", has_model=True, follow_up=False, drafts=2)
    assert (two.searches, two.calls) == (1, 2)
    assert abs(two.prompt_tokens - 2 * one.prompt_tokens) <= 1
