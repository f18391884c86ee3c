"""Programs that measure nbpar side by side with its peers."""
