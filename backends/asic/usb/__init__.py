"""What is plugged in, and bytes to and from it: discovery without opening, exclusive claims, three kinds of bridges."""
