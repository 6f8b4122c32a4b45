"""``python -m crayon_bench`` is the command ``crayon-bench``."""

from crayon_bench.cli import main

if __name__ == "__main__":
    main()
