"""`python -m mergebench` is `mergebench`."""

from mergebench.cli import main

raise SystemExit(main())
