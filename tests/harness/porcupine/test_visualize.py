"""The page of a history: all data is in it, nothing is loaded from elsewhere, and a browser shows it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from tester.porcupine import visualize as exported
from tester.porcupine.checker import check_operations_verbose
from tester.porcupine.info import LinearizationInfo
from tester.porcupine.model import CheckResult, Model, NondeterministicModel, Operation
from tester.porcupine.models import (
    RegisterInput,
    RegisterOutput,
    StringKvInput,
    StringKvOutput,
    register_model,
    string_kv_model,
)
from tester.porcupine.visualize import visualize, visualize_html
from tests.harness.pages import HOSTILE, IN_LIGHT_AND_DARK, Page, assert_loads_nothing


def write(client: Any, value: Any, call: Any, back: Any, key: Any = None) -> Operation:
    return Operation(client, RegisterInput("write", value, key=key), call, RegisterOutput(), back)


def read(client: Any, value: Any, call: Any, back: Any, key: Any = None) -> Operation:
    return Operation(client, RegisterInput("read", key=key), call, RegisterOutput(value), back)


STALE = [
    write(0, 1, 0, 30, "x"),
    read(1, 1, 20, 50, "x"),
    write(0, 2, 40, 70, "x"),
    read(2, 2, 60, 90, "x"),
    read(1, 1, 80, 110, "x"),  # 2 had been read before
    write(0, 3, 120, None, "x"),
    write(2, 5, 100, 130, "y"),
]
"""Two keys; key x is illegal."""


def checked(history: list[Operation], model: Model | None = None) -> LinearizationInfo:
    return check_operations_verbose(model or register_model(), history)[1]


def data_of(page: str) -> dict[str, Any]:
    (text,) = [text for attributes, text in Page(page).scripts if attributes.get("id") == "history"]
    return json.loads(text)


def orders_of(partition: dict[str, Any]) -> Iterator[tuple[list[int], list[int]]]:
    placed: list[int] = []
    states: list[int] = []
    for each in partition["partials"]:
        placed = placed[: each["shared"]] + each["rest"]
        states = states[: each["shared"]] + each["states"]
        yield placed, states


# -------------------------------------------------------------- what is in it


def test_the_page_loads_nothing():
    text = visualize_html(register_model(), checked(STALE))
    assert_loads_nothing(text)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_texts_are_data_and_nothing_else(value):
    history = [
        Operation(value, StringKvInput("put", value, value), 0, StringKvOutput(), 1),
        Operation(value, StringKvInput("get", value), 2, StringKvOutput(value), 3),
    ]
    text = visualize_html(string_kv_model(), checked(history, string_kv_model()), time_unit=value)
    text.encode("utf-8")
    page = Page(text)
    assert page.tags.count("script") == len(page.scripts) == 2
    data = data_of(text)
    (partition,) = data["partitions"]
    assert data["time_unit"] == value
    assert partition["clients"] == [value]
    assert partition["name"] == f"key {value}"
    assert data["texts"][partition["text"][1]] == string_kv_model().describe_operation(
        history[1].input, history[1].output
    )


def test_every_operation_is_in_it():
    info = checked(STALE)
    data = data_of(visualize_html(register_model(), info))
    assert [partition["name"] for partition in data["partitions"]] == ["key x", "key y"]
    for partition, operations in zip(data["partitions"], info.partitions, strict=True):
        assert [partition["clients"][lane] for lane in partition["lane"]] == [
            str(each.client_id) for each in operations
        ]
        assert partition["call"] == [each.call_time for each in operations]
        assert partition["return"] == [each.return_time for each in operations]
        described = [register_model().describe_operation(each.input, each.output) for each in operations]
        assert [data["texts"][text] for text in partition["text"]] == described


def test_the_verdict_the_culprit_and_the_explanation_are_in_it():
    info = checked(STALE)
    data = data_of(visualize_html(register_model(), info))
    assert [partition["verdict"] for partition in data["partitions"]] == ["illegal", "ok"]
    assert info.culprit is not None
    assert data["explanation"] == info.explanation
    assert data["partitions"][0]["culprit"] == info.culprit[1]
    assert data["partitions"][1]["culprit"] is None


def test_every_partial_linearization_and_the_states_along_it_are_in_it():
    info = LinearizationInfo([STALE[:5]], [[[0, 1, 2, 3], [0, 1, 4], [0, 4]]], "why", (0, 4))
    data = data_of(visualize_html(register_model(), info))
    orders = [
        (placed, [data["texts"][state] for state in states]) for placed, states in orders_of(data["partitions"][0])
    ]
    assert sorted(orders) == [
        ([0, 1, 2, 3], ["1", "1", "2", "2"]),
        ([0, 1, 4], ["1", "1", "1"]),
        ([0, 4], ["1", "1"]),
    ]
    assert data["texts"][data["partitions"][0]["initial"]] == "None"


def test_what_cannot_come_next_is_marked():
    info = LinearizationInfo([STALE[:5]], [[[0, 1, 2, 3]]], "why", (0, 4))
    (partial,) = data_of(visualize_html(register_model(), info))["partitions"][0]["partials"]
    assert partial["refused"] == [4]
    info = LinearizationInfo([STALE[:5]], [[[0]]], "why", (0, 4))
    (partial,) = data_of(visualize_html(register_model(), info))["partitions"][0]["partials"]
    assert partial["refused"] == []  # 1 could be next; 3 reads 2, but is called only after 1's return


def test_without_a_culprit_what_has_no_order_is_undecided():
    data = data_of(visualize_html(register_model(), LinearizationInfo([STALE[:5]], [[[0]]])))
    assert [partition["verdict"] for partition in data["partitions"]] == ["unknown"]
    data = data_of(visualize_html(register_model(), LinearizationInfo([STALE[:5]])))
    assert [partition["verdict"] for partition in data["partitions"]] == ["unknown"]
    beside_an_illegal_one = LinearizationInfo([STALE[:5], STALE[6:]], [[[0, 1, 2, 3]], []], "why", (0, 4))
    data = data_of(visualize_html(register_model(), beside_an_illegal_one))
    assert [partition["verdict"] for partition in data["partitions"]] == ["illegal", "unknown"]


def test_an_operation_that_never_returned_may_be_in_no_order():
    info = LinearizationInfo([STALE[:2] + STALE[5:6]], [[[0, 1]]])
    assert data_of(visualize_html(register_model(), info))["partitions"][0]["verdict"] == "ok"


def test_times_beyond_the_integers_of_javascript_are_given_from_the_first():
    base = 1_700_000_000_000_000_001
    data = data_of(
        visualize_html(register_model(), checked([write(0, 1, base, base + 3), read(1, 1, base + 7, base + 9)]))
    )
    assert data["origin"] == str(base)
    assert data["partitions"][0]["call"] == [0, 7]
    assert data_of(visualize_html(register_model(), checked(STALE)))["origin"] == "0"


def test_long_texts_lose_their_middle():
    info = checked([write(0, "a" * 5000 + "b" * 5000, 0, 1)])
    data = data_of(visualize_html(register_model(), info))
    assert max(map(len, data["texts"])) < 700
    assert any("more characters" in text and text.endswith("b'") for text in data["texts"])


def test_clients_stand_in_their_order():
    history = [write(client, 1, number, number + 1) for number, client in enumerate(("b", 10, 9, "a"))]
    assert data_of(visualize_html(register_model(), checked(history)))["partitions"][0]["clients"] == [
        "9",
        "10",
        "a",
        "b",
    ]


def test_a_nondeterministic_model_shows_the_states_that_are_possible():
    model = NondeterministicModel(init=lambda: [0], step=lambda state, input, output: [state, input])
    _, info = check_operations_verbose(model, [Operation(0, 1, 0, "ok", 1)])
    data = data_of(visualize_html(model, info))
    ((_, states),) = orders_of(data["partitions"][0])
    assert [data["texts"][state] for state in states] == ["{0, 1}"]


def test_infinite_times_and_false_indices_are_refused():
    with pytest.raises(ValueError, match="infinite"):
        visualize_html(register_model(), LinearizationInfo([[write(0, 1, 0, float("inf"))]], [[[0]]]))
    with pytest.raises(ValueError, match="operation 7 of a linearization is none of the 1 there are"):
        visualize_html(register_model(), LinearizationInfo([[write(0, 1, 0, 1)]], [[[7]]]))


def test_it_is_written_to_a_path_or_a_file(tmp_path):
    info = checked(STALE)
    visualize(register_model(), info, tmp_path / "page.html", time_unit="ns")
    file = io.StringIO()
    exported(register_model(), info, file, time_unit="ns")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == file.getvalue()


def test_the_parts_of_the_page_are_packaged():
    pyproject = resources.files("tester").joinpath("..", "pyproject.toml").read_text(encoding="utf-8")
    assert '"tester.porcupine" = ["page/*"]' in pyproject


# -------------------------------------------------------------- in a browser


@pytest.fixture
def show(open_in_browser, tmp_path):
    """Opens the page of a history."""

    def open_page(info: LinearizationInfo, model: Model | None = None):
        path = tmp_path / "page.html"
        visualize(model or register_model(), info, path, time_unit="ns")
        page = open_in_browser(path)
        page.wait_for_function("document.getElementById('chart').width > 0")
        return page

    return open_page


def hover(page: Any, text: str) -> str:
    """Moves over the chart until an operation's description shows `text`; all that is shown with it."""
    box = page.locator("#chart").bounding_box()
    for y in range(40, int(box["height"]), 20):
        for x in range(80, int(box["width"]), 12):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if page.locator("#tip").is_visible() and text in page.locator("#tip strong").inner_text():
                return page.locator("#tip").inner_text()
    raise AssertionError(f"no operation shows {text}")


def reds(page: Any) -> int:
    """How many pixels of the chart are of the culprit's colour."""
    return page.evaluate(
        """() => {
            const canvas = document.getElementById("chart");
            const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let i = 0; i < all.length; i += 4)
                if (all[i] > 180 && all[i + 1] < 130 && all[i + 2] < 130) count += 1;
            return count;
        }"""
    )


@IN_LIGHT_AND_DARK
def test_a_browser_shows_an_illegal_history(show):
    info = checked(STALE)
    page = show(info)
    assert page.locator("#verdict").inner_text() == "✗ Not linearizable"
    assert page.locator("#explanation").inner_text() == info.explanation
    page.wait_for_timeout(100)
    assert reds(page) > 100
    shown = hover(page, "write('x', 2)")
    assert "client" in shown
    assert "state after" in shown
    page.keyboard.press("c")
    assert "✗ the culprit" in page.locator("#tip").inner_text()


@IN_LIGHT_AND_DARK
def test_a_browser_shows_a_legal_history(show):
    page = show(checked([write(0, 1, 0, 10), read(1, 1, 5, 20), read(0, 1, 12, 30)]))
    assert page.locator("#verdict").inner_text() == "✓ Linearizable"
    assert page.locator("#culprit").is_hidden()
    for place in (1, 2, 3):
        page.keyboard.press("n")
        assert f"{place} of 3" in page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.wait_for_timeout(100)
    assert reds(page) == 0


def test_keys_zoom_and_the_axis_changes(show):
    page = show(checked(STALE))
    picture = page.locator("#chart").screenshot
    whole = picture()
    page.keyboard.press("+")
    page.wait_for_timeout(100)
    assert picture() != whole
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert picture() == whole
    page.keyboard.press("t")
    assert page.locator("#by-order").get_attribute("aria-pressed") == "true"


def test_clicking_an_operation_shows_the_longest_order_with_it(show):
    info = LinearizationInfo([STALE[:5]], [[[0, 1, 2, 3], [0, 1, 4]]], "why", (0, 4))
    page = show(info)
    assert "4 of 5 operations" in page.locator("#partial option:checked").inner_text()
    box = page.locator("#chart").bounding_box()
    hover(page, "read('x') -> 1")  # the first of them is in both orders
    assert "4 of 5 operations" in page.locator("#partial option:checked").inner_text()
    page.keyboard.press("c")
    assert "3 of 5 operations" in page.locator("#partial option:checked").inner_text()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 5)
    assert "4 of 5 operations" in page.locator("#partial option:checked").inner_text()


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_browser_shows_hostile_texts_as_they_are(show, value):
    history = [Operation(value, StringKvInput("put", value, value), 0, StringKvOutput(), 1)]
    page = show(checked(history, string_kv_model()), string_kv_model())
    page.keyboard.press("n")
    shown = page.locator("#tip strong").evaluate("element => element.textContent")
    assert shown == string_kv_model().describe_operation(history[0].input, history[0].output)


def test_a_browser_shows_ten_thousand_operations_and_none(show):
    history = [write(number % 40, number, number * 10, number * 10 + 350) for number in range(10_000)]
    info = LinearizationInfo([history], [[list(range(10_000))]])
    page = show(info)
    page.keyboard.press("n")
    assert "1 of 10000" in page.locator("#tip").inner_text()
    page = show(LinearizationInfo([], []))
    assert page.locator("#explanation").inner_text() == "The history has no operations."


def test_the_checker_agrees_with_the_samples():
    assert check_operations_verbose(register_model(), STALE)[0] is CheckResult.ILLEGAL
