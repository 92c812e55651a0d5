"""``python -m gateway``: the same as ``oscc-gateway``."""

import sys

from gateway.app.main import main

if __name__ == "__main__":
    sys.exit(main())
