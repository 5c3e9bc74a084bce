"""The tasks that come with mergebench, and corruptions of their images."""
