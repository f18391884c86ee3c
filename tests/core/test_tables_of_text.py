"""Rows of text formatted as tables."""

from nbpar.core.tables import html_table, text_table


def test_cells_stand_below_one_another_and_no_blanks_at_the_end():
    assert text_table([("name", "what"), ("a", "long"), ("longer", "b")]) == [
        "name    what",
        "a       long",
        "longer  b",
    ]


def test_what_follows_the_words_are_numbers_and_end_below_one_another():
    assert text_table([("name", "items"), ("a", "7"), ("bc", "12,345")], words=1) == [
        "name   items",
        "a          7",
        "bc    12,345",
    ]


def test_html_has_the_heads_as_such_and_nothing_of_a_cell_is_markup():
    assert html_table(["<b>", "c"], [("<i>", "&")]) == (
        '<table><thead><tr><th scope="col">&lt;b&gt;</th><th scope="col">c</th></tr></thead>'
        "<tbody><tr><td>&lt;i&gt;</td><td>&amp;</td></tr></tbody></table>"
    )


def test_numbers_are_at_the_right_and_foreign_texts_apart():
    html = html_table(["a", "b"], [["x<", "1"]], cell="padding:0", right=(1,), own=(0,))

    assert '<td style="text-align:left;padding:0"><bdi>x&lt;</bdi></td>' in html
    assert '<td style="text-align:right;padding:0">1</td>' in html
    assert '<th scope="col" style="text-align:right;padding:0">b</th>' in html


def test_a_caption_and_styles_are_there_where_they_were_given():
    html = html_table(["a"], [["b"]], caption="1 & 2", table="margin:0", cell="padding:0")

    assert html.startswith('<table style="margin:0"><caption>1 &amp; 2</caption>')
    assert html.count('style="padding:0"') == 2
