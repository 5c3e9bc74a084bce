"""Squares of a layer's gradients: both ways of adding them up against the plain sum."""

import pytest
import torch

from mergebench.methods import squares
from mergebench.methods.squares import Squares, add_pairs, add_products, pairs_pay


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def plain(rows, slopes):
    return torch.einsum("kbno,bni->kboi", slopes, rows).square().sum((0, 1))


def total_of(rows, slopes, at_once):
    total = rows.new_zeros(slopes.shape[-1], rows.shape[-1])
    running = Squares(total, rows, len(slopes), at_once)
    for slope in slopes:
        running.add(slope)
    running.close()
    return total


@pytest.mark.parametrize("classes", [1, 2, 5, 40])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("tokens", [1, 4, 37])
def test_sums_are_the_plain_ones(monkeypatch, classes, at_once, pays, tokens):
    monkeypatch.setattr(squares, "pairs_pay", lambda *sizes: pays)
    rows, slopes = draw(3, tokens, 6), draw(classes, 3, tokens, 5, seed=1)
    torch.testing.assert_close(total_of(rows, slopes, at_once), plain(rows, slopes), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("product", [1, 30, 70, 10**6])
def test_how_many_products_are_held_does_not_matter(monkeypatch, product):
    monkeypatch.setattr(squares, "PRODUCT", product)
    rows, slopes = draw(5, 4, 6), draw(5, 4, 7, seed=1)
    total = torch.zeros(7, 6, dtype=torch.float64)
    add_products(total, rows, slopes)
    torch.testing.assert_close(total, plain(rows, slopes[None]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("pays", [True, False])
def test_rows_without_a_gradient_are_left_out_until_one_has_it(monkeypatch, pays):
    monkeypatch.setattr(squares, "pairs_pay", lambda *sizes: pays)
    rows, slopes = draw(2, 5, 6), draw(4, 2, 5, 3, seed=1)
    slopes[:, :, 1:] = 0
    torch.testing.assert_close(total_of(rows, slopes, 9), plain(rows, slopes))
    slopes[2, 1, 3] = 1.0  # behind a rectifier a row may come alive with another class
    torch.testing.assert_close(total_of(rows, slopes, 9), plain(rows, slopes))
    assert not total_of(rows, torch.zeros_like(slopes), 9).any()


@pytest.mark.parametrize("rank", [1, 2])
def test_single_precision_and_rows_of_low_rank(rank):
    rows = draw(20, rank, dtype=torch.float32) @ draw(rank, 8, seed=2, dtype=torch.float32)
    slopes = draw(30, 20, 5, seed=1, dtype=torch.float32)
    expected = plain(rows[None].double(), slopes[:, None].double())
    by_pairs, by_products = torch.zeros(5, 8), torch.zeros(5, 8)
    add_pairs(by_pairs, rows, slopes.transpose(1, 2).contiguous())
    for slope in slopes:
        add_products(by_products, rows[None], slope[None])
    for found in (by_pairs, by_products):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5 * expected.max().item())


def test_pairs_are_taken_where_there_are_more_classes_than_rows():
    assert pairs_pay(classes=396, rows=50, width=768)
    assert pairs_pay(classes=1, rows=1, width=768)
    assert not pairs_pay(classes=9, rows=50, width=768)
    assert not pairs_pay(classes=9, rows=197, width=384)
