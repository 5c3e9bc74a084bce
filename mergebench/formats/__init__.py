"""Names and shapes under which other libraries keep the same encoder, and how they become timm's and back."""
