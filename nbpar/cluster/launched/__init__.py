"""Engines that one of ipyparallel's launchers starts, and their controller."""
