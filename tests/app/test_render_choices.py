"""What one may choose, as native widgets."""

from app.render_choices import Choices, choices_html


def make(models: tuple[str, ...] = (), repositories: tuple[str, ...] = ("one",)) -> str:
    default = models[0] if models else None
    return choices_html(Choices(models, default, repositories, [("python", 1234)]))


def test_without_a_model_there_is_none_to_choose() -> None:
    html = make()
    assert "<select" not in html
    assert 'value="direct" checked' in html


def test_models_and_quotations_are_compared_with_another_one_by_default() -> None:
    html = make(("base<7b>", "tuned"))
    model, other = html.split('name="other"')
    assert '<option value="base&lt;7b&gt;" selected>' in model
    assert '<option value="tuned" selected>' in other
    assert '<option value="">Quotations</option>' in model


def test_one_repository_needs_no_filter() -> None:
    assert 'name="repos"' not in make()
    assert make((), ("one", "two")).count('name="repos"') == 2
    assert "python (1,234)" in make()
