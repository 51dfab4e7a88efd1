"""See serve.py."""

from .serve import main

raise SystemExit(main())
