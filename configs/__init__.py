"""The suites, studies, zoos and settings that come with mergebench, one YAML file each."""
