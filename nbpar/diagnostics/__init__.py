"""Advice on how to run a function, and a check of the installation."""
