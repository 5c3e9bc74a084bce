"""How the tiny world's image-text pair is trained: corpus, captions, two stages. Nothing that is only used needs it."""
