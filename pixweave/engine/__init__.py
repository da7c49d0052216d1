"""How one picture is made: the loop, what it looks at, and what moves it. Start with loop.py."""
