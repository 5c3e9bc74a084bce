"""What there is, by name: methods, tasks, corruptions, and suites, studies and zoos in YAML; found without importing.

Nothing is merged, trained or measured here, and no tensor is touched: listing must stay as light as reading files.
"""
