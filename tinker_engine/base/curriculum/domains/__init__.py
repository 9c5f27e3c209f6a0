"""Phrase lists for customer messages: one text per group of domains, read by `messages.py`.

Layout: `# domain, other name` opens a domain; every other line is one intent,
`name, other name @team: pattern; pattern; pattern`. Patterns use the braces of `example.expand` and
slots in square brackets (`[when]`, `[amount]`, ...) that `slots.py` fills.
"""
