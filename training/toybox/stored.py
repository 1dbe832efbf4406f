"""How the product stores weights is written once, in tools/reference/quantise.py; this makes it importable here."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools/reference"))

from quantise import absmax_rows, dequantise, quantise  # noqa: E402

__all__ = ["absmax_rows", "dequantise", "quantise"]
