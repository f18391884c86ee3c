"""The bell of the card: the browser tells of the end of a run whose page is not seen."""

from test_accessible_in_browser import barriers

NOTIFICATIONS = """() => {
  window.rung = [];
  window.Notification = class {
    static permission = "default";
    static async requestPermission() { return (this.permission = "granted"); }
    constructor(title, options) { window.rung.push([title, options.body]); }
  };
}"""
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
}"""


def test_the_bell_is_off_until_it_is_switched_on_and_rings_for_a_hidden_page(open_notebook, front_end):
    notebook = open_notebook("play(total=10**6)", "play(total=10**6)", front_end=front_end)
    page = notebook.page
    page.evaluate(NOTIFICATIONS)
    notebook.run(1)
    card = notebook.card()
    bell = card.get_by_role("button", name="Notify me when a run ends")
    assert bell.get_attribute("aria-pressed") == "false"
    notebook.shoot_both(f"bell-off-{front_end}", card)

    bell.focus()
    page.keyboard.press("Space")
    card.get_by_role("button", name="Notify me", pressed=True).wait_for()
    notebook.shoot_both(f"bell-on-{front_end}", card)
    found = barriers(notebook, ".nbpar-card") if front_end == "lab" else []
    notebook.press("Stop")
    notebook.wait_finished(1)
    assert page.evaluate("() => window.rung") == []  # the page was seen

    notebook.run(2)
    notebook.card().get_by_role("button", name="Notify me", pressed=True).wait_for()
    page.evaluate(HIDE, True)
    notebook.press("Stop")
    notebook.wait_finished(2)
    rung = page.evaluate("() => window.rung")
    page.evaluate(HIDE, False)
    page.evaluate("() => localStorage.removeItem('nbpar-bell')")

    assert [title for title, _ in rung] == ["count_words: stopped"]
    assert rung[0][1].startswith("stopped, ")
    assert found == []
