"""The faces: the command line and the web chat, over retrieval."""
