"""Helpers, literal references and named fakes of the tests."""
