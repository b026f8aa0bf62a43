"""The page of `-o html`, used in a real browser as people use it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from report_page import hostile, large, names, opened, zoo

from detrun.comparison.table import Question
from detrun.report import Form, compared, rendered

pytestmark = pytest.mark.browser

# The budget is 2 s on an idle machine; tests share theirs.
OPENS_IN_MS = 6000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two arms of two seeds, two failed runs, images and errors."""
    folder = tmp_path_factory.mktemp("zoo")
    comparison = compared([], Question(), zoo(folder), errors=True)
    path = folder / "page.html"
    path.write_text(rendered(comparison, Form.html), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def written(folder: Path, text: str) -> str:
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def text_of(page: Page, selector: str) -> str:
    return " ".join(page.locator(selector).inner_text().split())


def test_the_page_says_which_run_is_best_and_lists_the_others_apart(page: Page) -> None:
    assert text_of(page, "#headline").startswith("bbbbb0 has the highest AP, .525 ±.007, +.110 over aaaaa0")
    assert names(page) == ["bbbbb0", "aaaaa0", "ccccc0"]
    assert "not ranked" in text_of(page, "#table tbody:nth-of-type(2)")
    assert page.locator("#not-ranked li").all_inner_texts() == [
        "ccccc0: failed, loss is NaN",
        "ddddd0: failed, no data, no bbox evaluation",
    ]
    best = page.locator("tr[data-name=bbbbb0] td.number:has(strong)").first
    assert "* best" in " ".join(best.inner_text().split())
    assert "± sample SD, n = 2 seeds" in text_of(page, "#notes")


def test_a_column_sorts_by_mouse_and_by_keyboard_and_gives_the_order_back(page: Page) -> None:
    header = page.locator("#table th", has=page.get_by_role("button", name="optim.lr"))
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert names(page) == ["aaaaa0", "bbbbb0", "ccccc0"]
    expect(header.get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert names(page) == ["bbbbb0", "aaaaa0", "ccccc0"]
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") is None


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("bbb", ["bbbbb0"]),
        ("AP>.4", ["bbbbb0", "aaaaa0"]),
        ("AP > .4 lr=0.001", ["aaaaa0"]),
        ("state=done", ["bbbbb0", "aaaaa0"]),
        ("failed", ["ccccc0"]),
        ("AP>2", []),
        ("nonsense>1", []),
    ],
)
def test_the_filter_takes_words_and_conditions(page: Page, words: str, kept: list[str]) -> None:
    page.get_by_role("searchbox").fill(words)
    assert names(page) == kept
    expect(page.locator("#count")).to_have_text(f"{len(kept)} of 3 rows")


def test_values_become_differences_and_columns_come_and_go(page: Page) -> None:
    cell = page.locator("tr[data-name=bbbbb0] td.number").nth(4)
    before = cell.inner_text()
    page.locator("#show").select_option("differences")
    assert before != cell.inner_text()
    assert cell.inner_text().startswith("+.1")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="git_sha").check()
    expect(page.locator("#table th", has_text="git_sha")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("checkbox", name="git_sha")).to_be_hidden()


def test_hovering_a_curve_names_the_runs_and_their_values(page: Page) -> None:
    over = page.locator("#curves-chart .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 40)
    tip = page.locator("#curves-chart .tip")
    expect(tip).to_contain_text("epoch 3")
    assert [text.split()[:2] for text in tip.locator("li").all_inner_texts()] == [
        ["bbbbb1", ".530"],
        ["bbbbb0", ".520"],
        ["aaaaa1", ".420"],
        ["aaaaa0", ".410"],
        ["ccccc0", ".050"],
    ]
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()


def test_a_curve_is_read_by_keyboard_and_as_a_table(page: Page) -> None:
    chart = page.locator("#curves-chart .canvas")
    chart.focus()
    page.keyboard.press("End")
    spoken = page.locator("#curves-chart [role=status]")
    assert "epoch 3" in str(spoken.text_content())
    page.keyboard.press("ArrowLeft")
    assert "epoch 2" in str(spoken.text_content())
    page.keyboard.press("Escape")
    expect(page.locator("#curves-chart .tip")).to_be_hidden()
    page.locator("#curves-chart summary").click()
    rows = page.locator("#curves-chart details tbody tr").all_inner_texts()
    assert len(rows) == 3
    assert rows[2].split()[0] == "3"
    assert ".530" in rows[2]


def test_metric_axis_and_runs_of_the_curves_are_chosen(page: Page) -> None:
    metric, axis = page.locator("#metric"), page.locator("#axis")
    assert "loss" in metric.inner_text()
    metric.select_option("loss")
    axis.select_option("seconds")
    page.locator("#curves-chart summary").click()
    assert text_of(page, "#curves-chart thead").startswith("minutes")
    assert page.locator("#curves-chart tbody tr").last.inner_text().split()[:2] == ["3", "1"]
    metric.select_option("AP50")
    page.get_by_role("checkbox", name="chart aaaaa0").uncheck()
    assert "aaaaa" not in text_of(page, "#curves-chart .legend")
    assert "aaaaa" not in text_of(page, "#precision-chart .legend")


def test_precision_is_drawn_by_threshold_and_class(page: Page) -> None:
    page.locator("#level").select_option(".75")
    page.locator("#class").select_option("square")
    page.locator("#precision-chart summary").click()
    header = page.locator("#precision-chart thead").inner_text().split()
    rows = [text.split() for text in page.locator("#precision-chart tbody tr").all_inner_texts()]
    assert header == ["recall", "bbbbb0", "aaaaa0"]
    # Five of six, and two of six, are found exactly.
    assert rows[83] == ["0.83", "1.00", ".00"]
    assert rows[84][1] == ".00"
    assert rows[33] == ["0.33", "1.00", "1.00"]
    assert "ccccc0" in text_of(page, "#precision-without")


def test_classes_come_with_the_largest_change_first_and_follow_the_pair(page: Page) -> None:
    assert names(page, "classes-table") == ["square", "circle"]
    row = page.locator("#classes-table tr[data-name=circle]")
    assert row.locator("td").all_inner_texts()[:3] == [".510", ".620", "+.110"]
    page.get_by_role("button", name="swap").click()
    assert row.locator("td").all_inner_texts()[:3] == [".620", ".510", "−.110"]
    assert row.locator("i.loss").count() == 1
    page.locator("#classes-table").get_by_role("button", name="class").click()
    assert names(page, "classes-table") == ["circle", "square"]
    page.locator("#pair-b").select_option("ccccc0")
    assert names(page, "classes-table") == ["cell", "circle", "square"]


def test_the_configuration_shows_what_differs_and_on_demand_all(page: Page) -> None:
    keys = page.locator("#configuration-table tbody th")
    assert keys.all_inner_texts() == ["optim.lr"]
    assert page.locator("#configuration-table tbody td").all_inner_texts() == ["0.001", "0.0003"]
    page.get_by_label("also what is the same").check()
    assert keys.count() > 20
    assert page.locator("#configuration-table tr.differs").count() == 1


def test_errors_stand_in_a_table_of_their_own(page: Page) -> None:
    assert names(page, "errors-table") == ["bbbbb0", "aaaaa0"]
    page.locator("#errors-table").get_by_role("button", name="missed").click()
    assert names(page, "errors-table") == ["aaaaa0", "bbbbb0"]


def test_the_gallery_begins_where_the_runs_disagree_and_is_walked_by_keyboard(page: Page) -> None:
    place, captions = page.locator("#place"), page.locator("figcaption")
    expect(place).to_have_text("1 of 6")
    assert page.locator("#strip button").first.get_attribute("data-image") in ("3.jpg", "4.jpg", "5.jpg")
    assert [" ".join(text.split()) for text in captions.all_inner_texts()] == [
        "aaaaa0 0 right, 1 wrong, 2 missed F1 .00",
        "bbbbb0 2 right, 0 wrong, 0 missed F1 1.00",
    ]
    assert page.locator("figure").nth(1).locator("rect.right").count() == 2
    assert page.locator("figure").nth(0).locator("rect.missed").count() == 2
    expect(page.get_by_role("button", name="Previous image")).to_be_disabled()
    page.locator("#figures").focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    expect(place).to_have_text("6 of 6")
    page.keyboard.press("ArrowLeft")
    expect(place).to_have_text("5 of 6")
    page.get_by_role("button", name="Next image").click()
    expect(place).to_have_text("6 of 6")
    page.locator("#strip button").first.click()
    expect(place).to_have_text("1 of 6")


def test_the_slider_changes_what_counts_and_the_boxes_can_be_hidden(page: Page) -> None:
    page.get_by_role("slider").fill("0.6")
    words = page.locator("figcaption").first
    expect(words).to_contain_text("0 right, 0 wrong, 2 missed")
    page.get_by_role("slider").fill("0.95")
    expect(page.locator("figcaption").nth(1)).to_contain_text("0 right, 0 wrong, 2 missed")
    expect(page.locator("#threshold-value")).to_have_text(".95")
    page.get_by_label("ground truth").uncheck()
    assert page.locator("figure rect.missed").count() == 0
    page.get_by_role("slider").fill("0.3")
    assert page.locator("figure text").count() > 0
    page.get_by_label("labels").uncheck()
    assert page.locator("figure text").count() == 0


def test_the_theme_follows_the_system_until_it_is_chosen(chromium: Browser, address: str) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with opened(chromium, address, color_scheme="dark") as page:
        assert page.evaluate(paper) == "rgb(18, 22, 27)"
        page.get_by_role("button", name="Switch to the light theme").click()
        assert page.evaluate(paper) == "rgb(255, 255, 255)"
        page.reload()
        assert page.evaluate(paper) == "rgb(255, 255, 255)"
        page.get_by_role("button", name="Switch to the dark theme").press("Enter")
        assert page.evaluate(paper) == "rgb(18, 22, 27)"
        page.emulate_media(media="print")
        assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_what_was_chosen_outlives_a_reload(page: Page) -> None:
    page.get_by_role("searchbox").fill("bbb")
    page.locator("#metric").select_option("AP75")
    page.get_by_role("button", name="Next image").click()
    page.reload()
    assert names(page) == ["bbbbb0"]
    expect(page.locator("#metric")).to_have_value("AP75")
    expect(page.locator("#place")).to_have_text("2 of 6")


def test_names_that_are_markup_stay_text(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, hostile())) as page:
        assert page.title() == "</script><script>alert(1)</script> · detrun report"
        assert names(page)[0] == "</script><script>alert(1)</script>"
        assert text_of(page, "#title") == "</script><script>alert(1)</script>"
        injected = "main img, main script, main b:not(figcaption b, .tip b), main i:not(.gain, .loss)"
        assert page.locator(injected).count() == 0
        page.get_by_label("also what is the same").check()
        assert "onerror" in text_of(page, "#configuration-table")
        page.locator("#curves-chart .canvas").focus()
        page.keyboard.press("Home")
        assert "</script>" in text_of(page, "#curves-chart .tip")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_tables_and_never_the_page(chromium: Browser, address: str, width: int) -> None:
    with opened(chromium, address, viewport={"width": width, "height": 800}, has_touch=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.querySelector('#ranking .scroll').scrollWidth > innerWidth")
        left, right = (page.locator("figure").nth(place).bounding_box() for place in (0, 1))
        assert left
        assert right
        assert left["x"] == right["x"]


def test_paper_shows_results_and_no_controls(page: Page) -> None:
    page.emulate_media(media="print")
    for selector in ("header.bar", "#filter", "#strip", "#threshold", "#pair-a"):
        expect(page.locator(selector)).to_be_hidden()
    for selector in ("#table", "#curves-chart canvas", "#classes-table", "#figures"):
        expect(page.locator(selector)).to_be_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_everything_can_be_reached_and_is_named_without_a_mouse(page: Page) -> None:
    nameless: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [tabindex='0']")]
            .filter((each) => each.checkVisibility())
            .filter((each) => !(each.ariaLabel || each.textContent.trim() || each.labels?.length
                                || each.getAttribute("aria-labelledby")))
            .map((each) => each.outerHTML)"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the comparison")).to_be_focused()
    order: list[Any] = []
    for _ in range(14):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert order[:2] == ["Comparison", "Curves"]
    assert order.index("theme") < order.index("filter") < order.index("show")


def test_fifty_runs_of_three_hundred_epochs_open_in_time(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, written(tmp_path, large())) as page:
        ready_ms = page.evaluate("performance.getEntriesByName('ready')[0].startTime")
        print(f"ready after {ready_ms:.0f} ms")
        assert ready_ms < OPENS_IN_MS
        assert len(names(page)) == 50
        assert page.locator("#classes-table tr[data-name]").count() == 80
        page.get_by_role("button", name="chart every run").click()
        assert page.locator("#curves-chart .legend li").count() == 50


def test_a_log_of_others_has_a_table_and_no_empty_sections(chromium: Browser, shared: Path, tmp_path: Path) -> None:
    comparison = compared([str(shared / "logs" / "yolov3_result.md")], Question())
    with opened(chromium, written(tmp_path, rendered(comparison, Form.html))) as page:
        assert names(page) == ["From Scratch", "Pretrained Backbone"]
        assert text_of(page, "tr[data-name='Pretrained Backbone']").startswith("Pretrained Backbone .277* best")
        sections = "#curves, #precision, #errors, #classes, #configuration, #images, #pair"
        assert page.locator(sections).filter(visible=True).count() == 0
        assert page.locator("nav a").filter(visible=True).count() == 1
