"""Turning stored results into tables, statistics and the page; knows results, and no method or task."""
