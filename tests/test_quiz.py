"""The questions to check yourself: an answer comes after a choice, for every reader, and stays in the page."""

import quiz
import yaml
from conftest import SITE, violations
from quiz import PAGE

ADDRESS = (SITE / "book" / "questions.html").as_uri()


def opened(browser, **options):
    tab = browser.new_context(**options).new_page()
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(ADDRESS)
    return tab, asked


def test_the_page_is_made_from_the_items():
    assert PAGE.read_text(encoding="utf-8") == quiz.page(), "run python tools/quiz.py"


def test_a_question_has_its_choices_formulas_and_measured_numbers(tmp_path, monkeypatch):
    item = {
        "id": "01-a",
        "question": "Is $a<b$ & *so*?",
        "choices": [
            {"text": "about {1.4:.1f}", "right": True, "feedback": "It is."},
            {"text": "`no`", "feedback": "<b>"},
        ],
    }
    (tmp_path / "course" / "items").mkdir(parents=True)
    (tmp_path / "course" / "items" / "01.yml").write_text(yaml.safe_dump([item]), encoding="utf-8")
    monkeypatch.setattr(quiz, "ROOT", tmp_path)
    assert quiz.items("02") == []
    (found,) = quiz.items("01")
    assert found["choices"][0]["text"] == "about 1.0"
    text = quiz.question(found)
    assert "\n" not in text and "$" not in text and "<math" in text and "&amp; <em>so</em>" in text
    assert text.count("<details") == 2 and text.count("data-right") == 1
    assert "<summary><code>no</code></summary><p><strong>Not this one.</strong> &lt;b&gt;" in text


def test_nothing_is_told_before_a_choice(built, browser):
    tab, _ = opened(browser)
    forms = tab.locator(".book-quiz")
    assert forms.count() and tab.locator("article form.book-quiz fieldset > legend").count() == forms.count()
    assert "Right." not in tab.content() and "Not this one." not in tab.content()
    assert "data-right" not in tab.content()
    assert tab.locator("[role=status]").all_inner_texts() == [""] * forms.count()
    forms.first.get_by_role("button", name="Check").click()  # the browser asks for a choice
    assert "Right." not in tab.content() and "Not this one." not in tab.content()
    tab.context.close()


def test_by_keyboard_each_choice_gets_its_reason_and_no_other(built, browser):
    tab, asked = opened(browser)
    form = tab.locator(".book-quiz").first
    item = next(item for path in quiz.notebooks() for item in quiz.items(path.name[:2]))
    form.locator("input").first.focus()
    tab.keyboard.press("Space")
    for i, choice in enumerate(item["choices"]):
        if i:
            tab.keyboard.press("ArrowDown")
        assert form.get_by_role("status").inner_text() == ""  # a new choice takes the old reason away
        tab.keyboard.press("Enter")
        told = form.get_by_role("status").inner_text()
        assert told.startswith("Right." if choice.get("right") else "Not this one.")
        assert tab.content().count("<strong>Right.") + tab.content().count("<strong>Not this one.") == 1
    form.locator("input").last.focus()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Check"
    assert tab.url == ADDRESS and tab.evaluate("document.cookie") == ""
    assert all(url.startswith((SITE.as_uri(), "data:")) for url in asked)
    tab.context.close()


def test_an_answered_question_is_right_for_axe_in_light_and_in_dark(built, browser):
    for scheme in ("light", "dark"):
        tab, _ = opened(browser, color_scheme=scheme)
        for i, told in enumerate(("Right.", "Not this one.")):
            form = tab.locator(".book-quiz").nth(i)
            for choice in form.locator("input").all():
                choice.check()
                form.get_by_role("button").click()
                if form.get_by_role("status").inner_text().startswith(told):
                    break
        assert tab.locator(".book-right").count() and tab.locator(".book-wrong").count()
        assert violations(tab, colours_only=scheme == "dark") == []
        tab.context.close()


def test_without_scripts_a_choice_opens_to_its_reason(built, browser):
    tab, _ = opened(browser, java_script_enabled=False)
    form = tab.locator(".book-quiz").first
    reasons = form.locator("details > p")
    assert form.locator("input, button").count() == 0
    assert not any(reason.is_visible() for reason in reasons.all())
    for i in range(reasons.count()):
        form.locator("summary").nth(i).press("Enter")
        assert [reason.is_visible() for reason in reasons.all()] == [j == i for j in range(reasons.count())]
    tab.context.close()
