"""What searches had found after n trials: the numbers, the file and the picture."""

from mergebench.leaderboard.best_of_n import best_csv, draw_best, middle
from mergebench.leaderboard.plot import inline_svg

CURVES = {0: [0.4, 0.5, 0.5], 1: [0.4, 0.4, 0.7], 2: [0.3, 0.6]}


def test_the_median_study_stands_between_the_lowest_and_the_highest():
    assert middle(CURVES) == [(0.3, 0.4, 0.4), (0.4, 0.5, 0.6), (0.5, 0.6, 0.7)]


def test_nothing_is_said_before_every_study_has_found_something():
    assert middle({0: [None, 0.2], 1: [0.1, 0.3]}) == [None, (0.2, 0.25, 0.3)]


def test_the_file_has_a_line_for_every_trial_and_no_formulas():
    lines = best_csv({"m": {0: [None, 0.25]}, "=evil()": {3: [1.0]}}).splitlines()
    assert lines == ["method,seed,trials,best", "m,0,1,", "m,0,2,0.250000", "'=evil(),3,1,1.000000"]


def test_the_picture_has_a_panel_for_every_method():
    found = [(f"Method {n}", CURVES) for n in range(5)] + [("$x^2$ <b>", {0: [None]})]
    figure = draw_best(found)
    shown = [panel for panel in figure.axes if panel.get_visible()]
    assert [panel.get_title() for panel in shown] == [title for title, _ in found]
    line = next(x for x in shown[0].lines if len(x.get_xdata()) == 3)
    assert [round(float(y)) for y in line.get_ydata()] == [40, 50, 60]
    svg = inline_svg(figure)
    assert svg.startswith("<svg") and "<b>" not in svg
    assert inline_svg(draw_best(found)) == svg
