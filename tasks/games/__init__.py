"""Small games with a known optimum, in torch alone."""
