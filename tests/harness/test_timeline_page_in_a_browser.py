"""The page of a run, as a browser shows it."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import pytest

from labrpc.journal import (
    Annotated,
    Booted,
    Stopped,
)
from tester.porcupine import KvInput, KvOutput, Operation, check_operations_verbose, kv_model
from tester.timeline.page import write_page
from tester.timeline.reading import Reading, read
from tests.harness.page_runs import MS, OPERATIONS, journal, lasting, synthetic
from tests.harness.pages import HOSTILE, IN_LIGHT_AND_DARK


@pytest.fixture
def show(open_in_browser, tmp_path) -> Any:
    """Opens the page of a run."""
    count = itertools.count()

    def open_page(reading: Reading, link: str = "", **said: Any) -> Any:
        path = tmp_path / f"page{next(count)}.html"
        write_page(reading, path, title="a run", **said)
        page = open_in_browser(path, link)
        page.wait_for_function("document.documentElement.dataset.ready === 'true'")
        settle(page)
        return page

    return open_page


def settle(page: Any) -> None:
    """Until what was changed is drawn, and in the address."""
    page.wait_for_timeout(250)


HOVER = """(text) => {
    const chart = document.getElementById("chart");
    const tip = document.getElementById("tip");
    const { left, top, width, height } = chart.getBoundingClientRect();
    for (let y = 30; y < height; y += 7) {
        for (let x = 116; x < width; x += 5) {
            chart.dispatchEvent(new PointerEvent("pointermove", { clientX: left + x, clientY: top + y }));
            if (!tip.hidden && tip.querySelector("strong").textContent.startsWith(text)) return [left + x, top + y];
        }
    }
    return null;
}"""


def hover(page: Any, text: str) -> str:
    """Looks for a place on the chart whose tip begins with `text`, and points there; all that the tip says."""
    place = page.evaluate(HOVER, text)
    assert place, f"nothing shows {text}"
    page.mouse.move(0, 0)
    page.mouse.move(*place)
    assert page.locator("#tip strong").inner_text().startswith(text)
    said: str = page.locator("#tip").inner_text()
    return said


def states(page: Any) -> dict[str, list[str]]:
    """What the side panel says of each server."""
    rows = page.locator("#states tbody tr[data-host]")
    return {row.get_attribute("data-host"): row.locator("td").all_inner_texts()[1:] for row in rows.all()}


def picture(page: Any) -> bytes:
    settle(page)
    return page.locator("#chart").screenshot()


@IN_LIGHT_AND_DARK
def test_a_browser_shows_the_verdict_and_opens_before_it(show):
    page = show(read(journal()), verdict="server 2 lost an entry", facts={"seed": "7"})
    assert page.locator("#verdict").inner_text() == "server 2 lost an entry"
    assert "seed" in page.locator("#facts").inner_text()
    assert page.locator("#cursor-time").inner_text() == "0.250000000 s"
    assert "messages in view" in page.locator("#in-view").inner_text()
    assert page.locator("#go-culprit").is_hidden()
    assert page.locator("#printed li").count() == 2
    assert "I lead" in page.locator("#printed").inner_text()


def test_pointing_at_a_message_shows_its_fields_and_its_reply(show):
    page = show(read(journal()))
    shown = hover(page, "2 → 0  append 1, term 1")
    for text in ("prev_log_index\n0", "1: term 1, 'put x'", "leader_commit\n0", "sent\n0.153000000 s", "after 7 ms"):
        assert text in shown.replace("\t", "\n")
    assert "its reply: ok, term 1" in shown
    assert "success" in shown
    lost = hover(page, "2 → 1  vote?, term 1")
    assert "✗ lost" in lost


def test_pointing_at_an_operation_a_role_and_a_fault_shows_them(show):
    info = check_operations_verbose(kv_model(), OPERATIONS)[1]
    page = show(read(journal()), operations_verdict=(kv_model(), info))
    operation = hover(page, "put('x', '1', 0) → 'OK'")
    assert "in the order" in operation
    assert "state after" in operation
    assert "leader of term 1" in hover(page, "server 2: leader")
    assert "the end of the run, 50 ms" in hover(page, "partition 0 1")
    assert "reaches nobody" in hover(page, "server 1: disconnected")


def test_the_state_at_the_cursor_is_that_of_its_time(show):
    page = show(read(journal()), "#t=0.115")
    assert states(page) == {
        "0": ["F", "1", "0 (t0)", "0", "0"],
        "1": ["F", "0", "0 (t0)", "0", "0"],
        "2": ["C", "1", "0 (t0)", "0", "0"],
    }
    page = show(read(journal()), "#t=0.24")
    assert states(page)["0"][0] == "-"
    assert states(page)["2"] == ["L", "1", "1 (t1)", "1", "1"]
    assert page.locator("#states .status").all_inner_texts() == ["⚠ cut off from all others"] * 3
    assert "partition 0 1" in page.locator("#network").inner_text()
    page = show(read(journal()), "#t=0.2005")
    assert page.locator("#states .status").all_inner_texts() == [
        "⚠ cut off from 2",
        "⚠ cut off from 2",
        "⚠ cut off from all others",
    ]


def test_where_nobody_sends_a_message_of_raft_no_role_is_shown(show):
    without = [event for event in journal() if not getattr(event, "method", "").startswith("Raft.")]
    page = show(read(without), link="#t=0.1")
    assert [states(page)[server][:2] for server in "012"] == [["", ""]] * 3
    page = show(read(without), link="#t=0.24")
    assert [states(page)[server][0] for server in "012"] == ["-", "", ""]
    assert "follower" not in page.locator("#events").inner_text()


def test_a_link_opens_at_its_time_and_lane_and_the_cursor_writes_it(show):
    page = show(read(journal()), "#t=0.12&server=2&from=0.1&to=0.2")
    assert page.locator("#cursor-time").inner_text() == "0.120000000 s"
    assert page.locator("#in-view").inner_text().startswith("100 ms")
    assert page.locator("#states tr.chosen").get_attribute("data-host") == "2"
    assert page.locator("#events-of").inner_text() == "of server 2"
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.evaluate("location.hash").startswith("#t=0.121&server=2&from=0.1&to=0.2")
    page.evaluate("location.hash = '#t=0.05&clerk=0'")
    settle(page)
    assert page.locator("#cursor-time").inner_text() == "0.050000000 s"
    assert page.locator("#events-of").inner_text() == "of clerk 0"


def test_search_finds_texts_fields_and_operations(show):
    page = show(read(journal()))
    page.keyboard.press("/")
    for text, hits in (("I LEAD", 2), ("leader_commit=0", 2), ("put x", 2), ("partition", 1), ("no such", 0)):
        page.locator("#search").fill(text)
        found = page.locator("#hits").inner_text()
        assert found == (f"{hits} hit{'s' * (hits > 1)}" if hits else "no hit")
    page.locator("#search").fill("i lead")
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#hits").inner_text() == "1 of 2"
    assert page.locator("#cursor-time").inner_text() == "0.121000000 s"
    assert "I lead" in page.locator("#tip").inner_text()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Enter")
    assert page.locator("#hits").inner_text() == "2 of 2"


def test_filters_and_lanes_hide(show):
    page = show(read(journal()))
    assert page.locator("#in-view").inner_text().endswith("8 messages in view")
    page.keyboard.press("h")
    settle(page)
    assert page.locator("#in-view").inner_text().endswith("7 messages in view")
    assert page.locator("[data-filter=heartbeat]").get_attribute("aria-pressed") == "false"
    for name, left in (("reply", 4), ("lost", 3), ("client", 2), ("append", 1), ("vote", 0)):
        page.locator(f"[data-filter={name}]").click()
        settle(page)
        assert f" {left} message" in page.locator("#in-view").inner_text()
    assert page.locator("[data-filter=snapshot]").count() == 0  # there is none in this run
    page.locator("[data-filter=vote]").click()
    with_lane = picture(page)
    page.locator("#lanes summary").click()
    page.locator("#lane-list input[data-host='0']").uncheck()
    page.keyboard.press("Escape")
    assert picture(page) != with_lane
    assert " 0 messages" in page.locator("#in-view").inner_text()


@IN_LIGHT_AND_DARK
def test_intervals_are_bars_that_say_how_long_they_were(show):
    page = show(read(lasting()), "#t=0.25&from=0.19&to=0.25")
    first = hover(page, "¶ index 1").replace("\t", "\n")
    for text in ("server 2", "tag\ncommit", "lasted\n5 ms", "from\n0.201000000 s", "to\n0.206000000 s"):
        assert text in first
    assert "lasted\n7 ms, to the crash" in hover(page, "¶ index 3").replace("\t", "\n")
    assert "lasted\n47 ms, to the end of the run" in hover(page, "¶ the lock").replace("\t", "\n")
    rows = [page.evaluate(HOVER, f"¶ index {index}")[1] for index in (1, 2)]
    assert rows[0] < rows[1]  # they overlap in time: one below the other


def test_intervals_are_found_filtered_stepped_to_and_listed(show):
    page = show(read(lasting()), "#t=0.2&server=2")
    page.locator("#search").fill("INDEX 2")
    assert page.locator("#hits").inner_text() == "1 hit"
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#cursor-time").inner_text() == "0.202000000 s"
    assert "index 2" in page.locator("#tip").inner_text()
    assert page.locator("#printed li span").last.inner_text() == "[commit] index 2 (20 ms)"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    texts = []
    for _ in range(3):
        page.keyboard.press("n")
        settle(page)
        texts.append(page.locator("#events .here span").inner_text())
    assert texts == ["¶ begins commit: index 2", "¶ begins hold: the lock", "¶ ends, after 5 ms, commit: index 1"]
    with_bars = picture(page)
    page.locator("[data-filter=annotate]").click()
    assert picture(page) != with_bars
    assert page.evaluate(HOVER, "¶ index") is None


def test_more_intervals_at_once_than_rows_are_still_reached(show):
    events = [Annotated(n * MS, "0", "many", f"number {n}", n + 1, True) for n in range(10)]
    page = show(read([Booted(0, "0", 1, 0, 0), *events, Stopped(90 * MS, "0", 1, "crash")]))
    for n in (0, 3, 9):
        assert "to the crash" in hover(page, f"¶ number {n}")


def test_keys_step_through_the_events_of_the_chosen_lane(show):
    page = show(read(journal()), "#t=0")
    page.keyboard.press("ArrowDown")
    texts = []
    for _ in range(5):
        page.keyboard.press("n")
        settle(page)
        texts.append(page.locator("#events .here span").inner_text())
    assert texts == [
        "▲ starts",
        "← 2 vote?, term 1",
        "F follower of term 1",
        "→ 2 vote yes, term 1",
        "← 2 heartbeat, term 1",
    ]
    assert page.locator("#tip strong").inner_text() == "2 → 0  heartbeat, term 1"
    page.keyboard.press("p")
    settle(page)
    assert page.locator("#cursor-time").inner_text() == "0.111000000 s"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_keys_zoom_choose_the_theme_and_help(show):
    page = show(read(journal()))
    whole = picture(page)
    page.keyboard.press("+")
    assert picture(page) != whole
    page.keyboard.press("0")
    assert picture(page) == whole
    page.keyboard.press("d")
    assert picture(page) != whole
    page.keyboard.press("d")
    assert picture(page) == whole
    page.keyboard.press("s")
    assert page.locator("#panel").is_hidden()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()


def test_the_pointer_moves_and_boxes(show):
    page = show(read(journal()))
    box = page.locator("#chart").bounding_box()
    middle = box["x"] + 500, box["y"] + 300
    page.mouse.move(*middle)
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(middle[0] + 80, middle[1], steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    settle(page)
    boxed = page.evaluate("location.hash")
    assert float(page.locator("#in-view").inner_text().split()[0]) < 40  # ms, of 260
    page.mouse.down()
    page.mouse.move(middle[0] - 100, middle[1], steps=4)
    page.mouse.up()
    settle(page)
    assert page.evaluate("location.hash") != boxed
    page.mouse.wheel(0, 2000)
    settle(page)
    assert float(page.locator("#in-view").inner_text().split()[0]) > 200


def test_an_illegal_history_has_its_culprit(show):
    unwritten = Operation("c0", KvInput("get", "x"), 240 * MS, KvOutput("OK", "7", 3), 250 * MS)
    info = check_operations_verbose(kv_model(), [OPERATIONS[0], unwritten])[1]
    page = show(read(journal()), operations_verdict=(kv_model(), info))
    page.keyboard.press("c")
    settle(page)
    assert "✗ the culprit" in page.locator("#tip").inner_text()
    assert "nowhere" in page.locator("#tip").inner_text()
    assert page.locator("#history").inner_text().startswith("The clerks' history is not linearizable: client c0's get")
    page = show(read(journal()), operations_verdict=(kv_model(), info), verdict=f"illegal: {info.explanation}")
    assert page.locator("#history").is_hidden()


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_browser_shows_hostile_texts_as_they_are(show, value):
    page = show(read(journal(value)), verdict=value)
    shown = page.locator("#printed li span").first.evaluate("element => element.textContent")
    assert shown == value


def test_a_run_of_nothing_is_shown(show):
    page = show(Reading())
    page.keyboard.press("n")
    page.keyboard.press("+")
    assert page.locator("#events").inner_text() == "nothing"


FRAMES = """async (frames) => {
    const chart = document.getElementById("chart");
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const lengths = [];
    await frame();
    let before = performance.now();
    for (let i = 0; i < frames; i++) {
        chart.dispatchEvent(new WheelEvent("wheel", { deltaX: i % 40 < 20 ? 30 : -30, cancelable: true }));
        await frame();
        const now = performance.now();
        lengths.push(now - before);
        before = now;
    }
    return lengths;
}"""


def test_a_run_of_a_hundred_thousand_events_pans(show):
    page = show(synthetic(100_000))
    for span in (0.5, 5, 60, 1000):
        page.evaluate(f"location.hash = '#t=10&from=10&to={10 + span}'")
        settle(page)
        lengths = page.evaluate(FRAMES, 60)
        median = statistics.median(lengths)
        print(f"{span} s in view: median frame {median:.1f} ms, longest {max(lengths):.1f} ms")
        assert median < 100
