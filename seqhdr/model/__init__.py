"""The network, its weights and its memory."""
