"""What repeats, and what people state of themselves: learned by rules, each with the messages that show it."""
