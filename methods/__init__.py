"""The merge methods that come with mergebench: every module here that registers any is found by itself."""
