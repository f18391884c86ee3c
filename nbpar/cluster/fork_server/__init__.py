"""The fork server: its process, what it preloads, the engines it forks, and how one talks to it."""
