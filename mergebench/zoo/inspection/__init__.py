"""What task vectors look like before anybody merges them: angles, sizes, signs, spectra, by depth."""
