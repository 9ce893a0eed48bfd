"""What joins conversations: the rules that find it, and the graph that is walked along it."""
