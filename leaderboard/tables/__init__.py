"""Tables as papers print them: boards and series as grids of numbers, and a writer for every format."""
