"""Methods without learning: each useful alone, and a baseline for what is learned."""
