"""Small games with a known optimum, written in torch alone."""
